// How long the calls of each cache took, step by step, as a map: also of more caches than lines
// could be told apart.

import { filling, tooltipLook } from "./theme.js";
import { stepOf, timeAxis } from "./timeaxis.js";

const ROW = 22;
// That of the chart beside it.
const LEAST_HEIGHT = 192;
const FAINTEST = 0.12;

export function latencyMap({ report, theme, formats, rtl, locale }) {
  const known = measured(report);
  const step = Math.max(0, ...known.map(([, { series }]) => stepOf(series)));
  const data = known.flatMap(([alias, { series }]) =>
    series
      .filter(({ p99 }) => p99 !== null)
      .map(({ at, p99 }) => ({ x: Date.parse(at) + step / 2, y: alias, v: p99, at: Date.parse(at) })),
  );
  const strength = strengthOf(data.map(({ v }) => v));
  return {
    type: "matrix",
    data: {
      datasets: [
        {
          data,
          backgroundColor: data.map(({ v }) => `${theme.hit}${hex(strength(v))}`),
          hoverBackgroundColor: theme.miss,
          width: ({ chart }) => widthOf(chart, step),
          height: ({ chart }) => Math.max(4, heightOf(chart) / Math.max(1, known.length) - 2),
        },
      ],
    },
    options: {
      ...filling,
      parsing: false,
      locale,
      interaction: { mode: "nearest", intersect: true },
      scales: {
        x: timeAxis(report, theme, formats),
        y: {
          type: "category",
          // The plugin turns it round, for numbers.
          reverse: false,
          labels: known.map(([alias]) => alias),
          offset: true,
          grid: { display: false },
          border: { display: false },
          ticks: { color: theme.text, autoSkip: false },
        },
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          ...tooltipLook(theme, rtl),
          displayColors: false,
          callbacks: {
            title: ([item]) => (item ? formats.moment(item.raw.at) : ""),
            label: ({ raw }) => `${raw.y}: ${formats.duration(raw.v)}`,
          },
        },
      },
    },
  };
}

// How high the map should be, in pixels.
export function mapHeight(report) {
  return Math.max(LEAST_HEIGHT, 40 + ROW * measured(report).length);
}

function measured(report) {
  return Object.entries(report.caches).filter(([, { series }]) =>
    series.some(({ p99 }) => p99 !== null),
  );
}

// From 0 to 1 by orders of magnitude: a microsecond and a second have to fit into one map.
function strengthOf(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)].map(magnitude);
  return (value) =>
    most > least ? FAINTEST + ((1 - FAINTEST) * (magnitude(value) - least)) / (most - least) : 1;
}

function magnitude(seconds) {
  return Math.log10(Math.max(seconds, 1e-7));
}

function hex(strength) {
  return Math.round(strength * 255).toString(16).padStart(2, "0");
}

function widthOf({ chartArea, scales }, step) {
  if (!chartArea || !scales.x || !step) return 4;
  const pixels = (chartArea.width * step) / (scales.x.max - scales.x.min);
  return Math.max(2, pixels - 1);
}

function heightOf({ chartArea }) {
  return chartArea ? chartArea.height : 0;
}
