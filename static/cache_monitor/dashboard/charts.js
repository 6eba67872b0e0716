// The charts: one time axis, one colour for a cache, hits and misses apart.

const MOST_LINES = 6;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080].map((m) => m * 60e3);
// The same room for labels in every chart, so that their times stand below each other.
const LABELS_WIDTH = 60;
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 6]];

export function createCharts({ chartJs, root, formats, rtl }) {
  const drawn = new Map();
  let latest = null;

  const kinds = {
    hit_ratio: {
      axis: { min: 0, max: 100, ticks: { stepSize: 25, callback: (v) => formats.percent(v) } },
      text: formats.percent,
      datasets: (report, theme) => lines(report, theme, hitRatio),
    },
    lookups: {
      axis: { stacked: true, ticks: { precision: 0, callback: (v) => formats.compact(v) } },
      text: formats.count,
      datasets: hitsAndMisses,
    },
    p99: {
      axis: { ticks: { callback: (v) => formats.duration(v) } },
      text: formats.duration,
      datasets: (report, theme) => lines(report, theme, (point) => point.p99),
    },
    memory: {
      axis: { ticks: { callback: (v) => formats.size(v) } },
      step: binaryStep,
      text: formats.size,
      datasets: (report, theme) =>
        lines(report, theme, (point) => point.memory_bytes).map((line) => ({
          ...line,
          // Looks into a cache are rarer than the steps; between two of them it went on existing.
          spanGaps: true,
          pointRadius: line.data.filter(({ y }) => y !== null).length > 1 ? 0 : 3,
        })),
    },
  };

  function draw(report) {
    latest = report;
    const theme = readTheme(root);
    for (const [canvas, chart] of drawn) {
      if (canvas.isConnected) continue;
      chart.destroy();
      drawn.delete(canvas);
    }
    for (const canvas of root.querySelectorAll("canvas[data-cm-chart]")) {
      const kind = kinds[canvas.dataset.cmChart];
      const config = configure(canvas, kind, report, theme);
      const chart = drawn.get(canvas);
      if (chart) update(chart, config);
      else drawn.set(canvas, new chartJs(canvas, config));
    }
    writeLegend(root.querySelector("[data-cm-legend]"), report);
  }

  function configure(canvas, kind, report, theme) {
    const datasets = kind.datasets(report, theme, canvas.dataset);
    return {
      type: datasets[0]?.stack ? "bar" : "line",
      data: { datasets },
      options: {
        animation: false,
        responsive: true,
        maintainAspectRatio: false,
        parsing: false,
        normalized: true,
        locale: root.dataset.language,
        interaction: { mode: "index", intersect: false },
        scales: { x: timeAxis(report, theme, formats), y: valueAxis(kind, theme, datasets) },
        plugins: { legend: legend(theme, datasets, rtl), tooltip: tooltip(kind, formats, rtl, theme) },
      },
    };
  }

  onThemeChange(() => latest && draw(latest));
  return { draw };
}

function update(chart, { data, options }) {
  // New objects, for Chart.js keeps the look of a dataset that it has drawn before. What the
  // reader has hidden by a click on the legend stays hidden.
  chart.data.datasets.forEach(({ label }, place) => {
    const next = data.datasets.find((dataset) => dataset.label === label);
    if (next) next.hidden = !chart.isDatasetVisible(place);
  });
  chart.data.datasets = data.datasets;
  chart.options = options;
  chart.update("none");
}

// The caches that draw a line, the busiest first where there are too many to tell apart.
function shown(report) {
  const every = Object.entries(report.caches).filter(([, cache]) =>
    cache.series.some(
      ({ lookups, p99, memory_bytes }) => lookups || p99 !== null || memory_bytes !== null,
    ),
  );
  if (every.length <= MOST_LINES) return every;
  const busiest = [...every].sort(([, a], [, b]) => b.lookups - a.lookups).slice(0, MOST_LINES);
  return every.filter((entry) => busiest.includes(entry));
}

function lines(report, theme, value) {
  return shown(report).map(([alias, { series }], place) => {
    const middle = stepOf(series) / 2;
    return {
      label: alias,
      data: series.map((point) => {
        const at = Date.parse(point.at);
        return { x: at + middle, y: value(point), at };
      }),
      borderColor: theme.series[place],
      backgroundColor: theme.series[place],
      borderDash: DASHES[place],
      borderWidth: 2,
      pointRadius: standsAlone,
      pointHoverRadius: 4,
      pointHitRadius: 8,
      // The newest point stands at the edge and would be cut in half.
      clip: 8,
    };
  });
}

function hitsAndMisses(report, theme, labels) {
  const sums = new Map();
  let step = 0;
  for (const [, { series }] of shown(report)) {
    step = stepOf(series) || step;
    for (const point of series) {
      const sum = sums.get(point.at) ?? { hits: 0, misses: 0 };
      sums.set(point.at, { hits: sum.hits + point.hits, misses: sum.misses + point.misses });
    }
  }
  const times = [...sums.keys()].sort();
  const bar = (label, name, color) => ({
    label,
    data: times.map((text) => {
      const at = Date.parse(text);
      return { x: at + step / 2, y: sums.get(text)[name], at };
    }),
    backgroundColor: color,
    stack: "lookups",
    barPercentage: 0.9,
    categoryPercentage: 1,
    maxBarThickness: 24,
  });
  return [
    bar(labels.labelHits, "hits", theme.hit),
    bar(labels.labelMisses, "misses", theme.miss),
  ];
}

function hitRatio({ hits, misses }) {
  return hits + misses ? (100 * hits) / (hits + misses) : null;
}

function stepOf(series) {
  return series.length > 1 ? Date.parse(series[1].at) - Date.parse(series[0].at) : 0;
}

// A measured step between two without figures has no line to be seen by.
function standsAlone({ dataset, dataIndex }) {
  const known = (at) => dataset.data[at] !== undefined && dataset.data[at].y !== null;
  return known(dataIndex) && !known(dataIndex - 1) && !known(dataIndex + 1) ? 3 : 0;
}

function timeAxis(report, theme, formats) {
  const min = Date.parse(report.since);
  const max = Date.parse(report.until);
  let step = 0;
  return {
    type: "linear",
    // Bars would widen it, and the charts would no longer share one time axis.
    offset: false,
    min,
    max,
    grid: { color: theme.grid, offset: false, tickLength: 4 },
    border: { color: theme.border },
    ticks: {
      color: theme.text,
      maxRotation: 0,
      autoSkip: false,
      callback: (at) => formats.tick(at, step),
    },
    afterBuildTicks(axis) {
      step = tickStep(max - min, Math.max(2, Math.floor(axis.chart.width / 90)));
      const offset = formats.offset(min);
      const ticks = [];
      for (let at = Math.ceil((min + offset) / step) * step - offset; at <= max; at += step) {
        ticks.push({ value: at });
      }
      axis.ticks = ticks;
    },
  };
}

function tickStep(length, most) {
  return STEPS.find((step) => length / step <= most) ?? Math.ceil(length / most / 86400e3) * 86400e3;
}

function valueAxis(kind, theme, datasets) {
  const largest = Math.max(0, ...datasets.flatMap(({ data }) => data.map(({ y }) => y ?? 0)));
  return {
    beginAtZero: true,
    // Without figures Chart.js would count from 0 to 1 of a unit that nobody measured.
    ...(largest === 0 && kind.axis.max === undefined ? { suggestedMax: 1 } : {}),
    ...kind.axis,
    grid: { color: theme.grid },
    border: { display: false },
    ticks: { color: theme.text, maxTicksLimit: 6, stepSize: kind.step?.(largest), ...kind.axis.ticks },
    afterFit(axis) {
      axis.width = Math.max(axis.width, LABELS_WIDTH);
    },
  };
}

// Sizes read well in steps of a power of two.
function binaryStep(largest) {
  return largest > 4 ? 2 ** Math.ceil(Math.log2(largest / 4)) : undefined;
}

function legend(theme, datasets, rtl) {
  return {
    // The lines' names stand above the charts, once for all.
    display: !!datasets[0]?.stack,
    position: "bottom",
    align: "start",
    rtl,
    labels: { color: theme.text, boxWidth: 10, boxHeight: 10 },
  };
}

function tooltip(kind, formats, rtl, theme) {
  return {
    rtl,
    backgroundColor: theme.tooltip,
    titleColor: theme.tooltipText,
    bodyColor: theme.tooltipText,
    borderColor: theme.border,
    borderWidth: 1,
    callbacks: {
      title: ([item]) => (item ? formats.moment(item.raw.at) : ""),
      label: ({ dataset, parsed }) =>
        `${dataset.label}: ${parsed.y === null ? "–" : kind.text(parsed.y)}`,
    },
  };
}

function writeLegend(list, report) {
  if (!list) return;
  const names = shown(report).map(([alias]) => alias);
  list.hidden = names.length < 2;
  list.replaceChildren(
    ...names.map((name, place) => {
      const item = document.createElement("li");
      item.className = `cm-legend-${place + 1}`;
      item.textContent = name;
      return item;
    }),
  );
}

function readTheme(element) {
  const style = getComputedStyle(element);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    text: read("--body-quiet-color"),
    grid: read("--hairline-color"),
    border: read("--border-color"),
    tooltip: read("--cm-raised"),
    tooltipText: read("--body-fg"),
    hit: read("--cm-hit"),
    miss: read("--cm-miss"),
    series: DASHES.map((_, place) => read(`--cm-series-${place + 1}`)),
  };
}

function onThemeChange(redraw) {
  new MutationObserver(redraw).observe(document.documentElement, {
    attributeFilter: ["data-theme", "class"],
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
