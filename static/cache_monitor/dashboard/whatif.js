// What a cache would hit with more or less room: a line for each policy, the error of the own one as
// a band, and below them the time that each size saves an hour beyond today's.

import { createRedrawn } from "./redrawn.js";
import { filling, tooltipLook } from "./theme.js";
import { axisLook } from "./valueaxis.js";

const DASHES = [[6, 3], [2, 2], [8, 3, 2, 3], [12, 4]];
const BAR_PIXELS = 18;
const LABEL_PIXELS = 46;
const SMALL = -3.5;
const FRAMED = 1.15;

export function createWhatIfs({ chartJs, root, formats, rtl }) {
  function configure(canvas, report, theme) {
    const predicted = report.caches[canvas.dataset.cmWhatif]?.what_if;
    if (!predicted?.entries.length) return null;
    const labels = JSON.parse(canvas.dataset.labels);
    const bars = saved(predicted, theme, labels);
    return {
      type: "line",
      data: { datasets: [...lines(predicted, theme, labels), ...bars] },
      options: {
        ...filling,
        parsing: false,
        locale: root.dataset.language,
        interaction: { mode: "x", intersect: false },
        scales: {
          x: sizeAxis(predicted, theme, formats, labels),
          ...(bars.length ? { saved: savedAxis(bars, theme, formats) } : {}),
          y: ratioAxis(theme, formats),
        },
        plugins: {
          legend: legend(theme, rtl),
          tooltip: {
            ...tooltipLook(theme, rtl),
            filter: ({ dataset }) => !dataset.band,
            itemSort: (one, other) => one.datasetIndex - other.datasetIndex,
            callbacks: {
              title: ([item]) => (item ? sizeOf(item.raw, formats, labels) : ""),
              label: ({ dataset, raw }) => `${dataset.label}: ${written(dataset, raw, formats)}`,
            },
          },
        },
      },
    };
  }

  return createRedrawn({ chartJs, root }, "canvas[data-cm-whatif]", configure);
}

function written({ yAxisID }, { y, error }, formats) {
  if (yAxisID === "saved") return signed(y, formats);
  return formats.percent(y) + (error ? ` ± ${formats.decimal(error)}` : "");
}

function signed(seconds, formats) {
  return (seconds > 0 ? "+" : seconds < 0 ? "−" : "") + formats.duration(Math.abs(seconds));
}

function sizeOf({ x, entries }, formats, labels) {
  const factor = `× ${formats.significant(2 ** x)}`;
  return `${factor}: ${formats.count(entries)} ${labels.entries}${x === 0 ? `, ${labels.today}` : ""}`;
}

// Each doubling of the size is one step.
function placed({ size }, curve) {
  return curve
    .filter(({ hit_ratio: ratio }) => ratio !== null)
    .map(({ entries, hit_ratio: ratio, error, seconds_saved_per_hour: seconds }) => ({
      x: Math.log2(entries / size), y: 100 * ratio, entries, error: 100 * (error ?? 0), seconds,
    }));
}

function lines(predicted, theme, labels) {
  const own = placed(predicted, predicted.entries);
  const colour = theme.series[0];
  const common = {
    yAxisID: "y", borderWidth: 2, pointRadius: 2, pointHoverRadius: 4, pointHitRadius: 8,
    cubicInterpolationMode: "monotone", clip: 8,
  };
  const line = (label, data, place, more) => ({
    ...common, label, data, borderColor: theme.series[place], backgroundColor: theme.series[place],
    ...more,
  });
  const edge = (sign, more) => ({
    ...common, band: true, label: labels.error, borderWidth: 0, pointRadius: 0, pointHoverRadius: 0,
    data: own.map(({ x, y, error }) => ({ x, y: Math.min(100, Math.max(0, y + sign * error)) })),
    backgroundColor: `${colour}33`, ...more,
  });
  const hasError = own.some(({ error }) => error > 0);
  return [
    line(labels.own, own, 0, {
      pointRadius: own.map(({ x }) => (x === 0 ? 7 : 2)),
      pointStyle: own.map(({ x }) => (x === 0 ? "rectRot" : "circle")),
      order: 0,
    }),
    ...predicted.policies.map(({ policy, entries }, place) =>
      line(policy, placed(predicted, entries), place + 1, {
        borderDash: DASHES[place % DASHES.length], borderWidth: 1.5, order: 1,
      }),
    ),
    ...(predicted.optimum.length
      ? [line(labels.optimum, placed(predicted, predicted.optimum), 5, {
          borderDash: [1, 3], borderCapStyle: "round", order: 1, pointRadius: 0,
        })]
      : []),
    ...(hasError ? [edge(1, { fill: "+1", order: 3 }), edge(-1, { fill: false, order: 3 })] : []),
  ];
}

function saved(predicted, theme, labels) {
  const data = placed(predicted, predicted.entries)
    .filter(({ seconds }) => seconds !== null)
    .filter(({ seconds }) => seconds !== 0)
    .map(({ x, entries, seconds }) => ({ x, y: seconds, entries }));
  if (!data.length) return [];
  return [{
    type: "bar", yAxisID: "saved", label: labels.saved, data, barThickness: BAR_PIXELS,
    backgroundColor: theme.series[0], order: 2,
  }];
}

function sizeAxis(predicted, theme, formats, labels) {
  const places = placed(predicted, predicted.entries);
  // Of a small part of today's size the number of entries says more than the factor.
  const factor = ({ x }) => {
    if (x === 0) return labels.today;
    return x < SMALL ? "" : `× ${formats.significant(2 ** x)}`;
  };
  return {
    type: "linear",
    min: places[0].x - 0.25,
    max: places.at(-1).x + 0.25,
    grid: { color: theme.grid },
    border: { display: false },
    ticks: {
      color: theme.text,
      autoSkip: false,
      maxRotation: 0,
      font: (context) => (context.tick?.value === 0 ? { weight: "bold" } : {}),
      callback(value) {
        const place = places.find(({ x }) => x === value);
        return place ? [formats.compact(place.entries), factor(place)] : "";
      },
    },
    afterBuildTicks(axis) {
      axis.ticks = spread(places.map(({ x }) => x), axis.width).map((value) => ({ value }));
    },
  };
}

// Those that have room for their labels: today's first, then the halves and doubles.
function spread(places, width) {
  const room = (LABEL_PIXELS * (places.at(-1) - places[0] + 0.5)) / width;
  const isWhole = (x) => Math.abs(x - Math.round(x)) < 0.05;
  const wanted = [0, ...places.filter(isWhole), ...places];
  const kept = [];
  for (const x of wanted) {
    if (places.includes(x) && kept.every((other) => Math.abs(other - x) >= room)) kept.push(x);
  }
  return kept.sort((one, other) => one - other);
}

function ratioAxis(theme, formats) {
  return {
    stack: "chart",
    stackWeight: 5,
    min: 0,
    max: 100,
    ...axisLook(theme, { maxTicksLimit: 6, callback: (value) => formats.percent(value) }),
  };
}

function savedAxis([{ data }], theme, formats) {
  const values = data.map(({ y }) => y);
  const [least, most] = [Math.min(0, ...values), Math.max(0, ...values)];
  const edge = (FRAMED - 1) * (most - least);
  return {
    axis: "y",
    stack: "chart",
    stackWeight: 2,
    offset: true,
    min: least - edge,
    max: most + edge,
    ...axisLook(theme, {
      maxTicksLimit: 5, includeBounds: false, callback: (value) => signed(value, formats),
    }),
  };
}

function legend(theme, rtl) {
  return {
    display: true, position: "bottom", align: "start", rtl,
    labels: {
      color: theme.text,
      usePointStyle: true,
      pointStyleWidth: 24,
      filter: ({ datasetIndex }, { datasets }) => !datasets[datasetIndex].band,
      generateLabels: (chart) =>
        chart.data.datasets.map(({ label, type, borderColor, backgroundColor, borderDash }, place) => ({
          text: label,
          datasetIndex: place,
          hidden: !chart.isDatasetVisible(place),
          fontColor: theme.text,
          pointStyle: type === "bar" ? "rect" : "line",
          strokeStyle: borderColor ?? backgroundColor,
          fillStyle: backgroundColor,
          lineDash: borderDash,
          lineWidth: 2,
        })),
    },
  };
}
