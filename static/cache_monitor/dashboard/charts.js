// The charts: one time axis, one colour for a cache, hits and misses apart.

import {
  evictions, ghosts, knowEvictions, memory, missesByReason, percentiles, rates, ratios,
} from "./datasets.js";
import { latencyMap, mapHeight } from "./latencymap.js";
import { barLegend, partLegend, writeLegend } from "./legends.js";
import { filling, onThemeChange, readTheme, tooltipLook } from "./theme.js";
import { timeAxis } from "./timeaxis.js";
import { barAxis, binaryStep, powersAxis, valueAxis } from "./valueaxis.js";

export function createCharts({ chartJs, root, formats, rtl }) {
  const drawn = new Map();
  let latest = [null, null];

  const kinds = {
    hit_ratio: {
      axis: {
        min: 0, max: 100, stack: "chart", stackWeight: 3,
        ticks: { stepSize: 25, callback: (v) => formats.percent(v) },
      },
      text: formats.percent,
      datasets: (report, theme, labels) => [
        ...ratios(report, theme),
        ...missesByReason(report, theme, labels).map((bar) => ({ ...bar, yAxisID: "misses" })),
      ],
      below: (theme, datasets) => ({ misses: barAxis(theme, datasets, formats) }),
      legend: barLegend,
    },
    rate: {
      axis: { ticks: { callback: (v) => formats.compact(v) } },
      text: formats.decimal,
      datasets: rates,
    },
    latency: {
      powers: true,
      text: formats.duration,
      datasets: percentiles,
      legend: partLegend,
    },
    latency_map: { matrix: true, height: (report) => `${mapHeight(report)}px` },
    memory: {
      axis: { stack: "chart", stackWeight: 3, ticks: { callback: (v) => formats.sizeTick(v) } },
      step: binaryStep,
      text: formats.size,
      datasets: (report, theme, labels) => [
        ...memory(report, theme),
        ...evictions(report, theme, labels),
      ],
      below: (theme, datasets) =>
        datasets.some(({ stack }) => stack) ? { evictions: barAxis(theme, datasets, formats) } : {},
      legend: partLegend,
      // Two charts above each other take more room than one, whose height the style sheet has.
      height: (report) => (knowEvictions(report) ? "16rem" : ""),
    },
  };

  function draw(report, before) {
    latest = [report, before];
    const theme = readTheme(root);
    for (const [canvas, chart] of drawn) {
      if (canvas.isConnected) continue;
      chart.destroy();
      drawn.delete(canvas);
    }
    for (const canvas of root.querySelectorAll("canvas[data-cm-chart]")) {
      const kind = kinds[canvas.dataset.cmChart];
      const config = configure(canvas, kind, report, before, theme);
      const chart = drawn.get(canvas);
      if (kind.height) canvas.parentElement.style.blockSize = kind.height(report);
      if (chart) keepHidden(chart, config);
      if (chart && haveSameAxes(chart, config)) update(chart, config);
      else {
        chart?.destroy();
        drawn.set(canvas, new chartJs(canvas, config));
      }
    }
    writeLegend(root.querySelector("[data-cm-legend]"), report, root.dataset.textSome);
  }

  function configure(canvas, kind, report, before, theme) {
    if (kind.matrix) return latencyMap({ report, theme, formats, rtl, locale: root.dataset.language });
    const labels = JSON.parse(canvas.dataset.labels);
    const datasets = kind.datasets(report, theme, labels);
    if (before) {
      const shift = Date.parse(report.since) - Date.parse(before.since);
      const pale = kind.datasets(before, theme, labels);
      datasets.push(...ghosts(pale, datasets, shift, root.dataset.textBefore));
    }
    return {
      type: "line",
      data: { datasets },
      options: {
        ...filling,
        parsing: false,
        normalized: true,
        locale: root.dataset.language,
        interaction: { mode: "index", intersect: false },
        scales: {
          x: timeAxis(report, theme, formats),
          // Axes of one stack stand upon each other in this order.
          ...kind.below?.(theme, datasets),
          y: kind.powers
            ? powersAxis(theme, datasets, kind.text)
            : valueAxis(kind, theme, datasets),
        },
        plugins: {
          legend: kind.legend?.(theme, rtl, datasets) ?? { display: false },
          tooltip: tooltip(kind, formats, rtl, theme),
        },
      },
    };
  }

  onThemeChange(() => latest[0] && draw(...latest));

  return { draw };
}

// What the reader has hidden by a click on the legend stays hidden.
function keepHidden(chart, { data }) {
  chart.data.datasets.forEach(({ label }, place) => {
    const next = data.datasets.find((dataset) => dataset.label === label);
    if (next) next.hidden = !chart.isDatasetVisible(place);
  });
}

// Chart.js would put an axis that comes later above those that are there.
function haveSameAxes(chart, { options }) {
  const names = Object.keys(options.scales);
  return names.length === Object.keys(chart.scales).length && names.every((n) => n in chart.scales);
}

function update(chart, { data, options }) {
  // New objects, for Chart.js keeps the look of a dataset that it has drawn before.
  chart.data.datasets = data.datasets;
  chart.options = options;
  chart.update("none");
}

function tooltip(kind, formats, rtl, theme) {
  return {
    ...tooltipLook(theme, rtl),
    // A reason that nothing had in this step says nothing.
    filter: ({ dataset, parsed }) =>
      !dataset.stack || parsed.y > 0 || (dataset.showsZero && parsed.y === 0),
    callbacks: {
      title: ([item]) => (item ? formats.moment(item.raw.at) : ""),
      label: ({ dataset, parsed }) => `${dataset.label}: ${written(kind, formats, dataset, parsed)}`,
    },
  };
}

function written(kind, formats, dataset, { y }) {
  if (y === null) return "–";
  return dataset.stack ? formats.count(y) : kind.text(y);
}
