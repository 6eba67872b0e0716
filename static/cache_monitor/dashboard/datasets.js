// What the charts draw of a report: a line for each cache, or bars of what all caches did together.

import { isKnown, stepOf } from "./timeaxis.js";

const MOST_LINES = 6;
const DASHES = [[], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4], [4, 6]];
// The reasons of misses by their names in the report, each with the number of its colour.
const REASONS = {
  never_set: 1, expired: 2, evicted: 3, lost: 8, deleted: 5, cleared: 4, version_changed: 7,
  unknown: 6,
};
// How thick the line of a percentile is: the slowest calls are what people look for.
const PERCENTILES = { p99: 2.5, p90: 1.5, p50: 1 };
const BAR_WIDTHS = { barPercentage: 0.9, categoryPercentage: 1, maxBarThickness: 48 };

// The caches that draw a line. Where there are too many to tell apart, those that are too small for
// what is in them, and of the others the busiest.
export function shown(report) {
  const every = known(report);
  if (every.length <= MOST_LINES) return every;
  const matter = [...every]
    .sort(([, a], [, b]) => hasEvicted(b) - hasEvicted(a) || b.lookups - a.lookups)
    .slice(0, MOST_LINES);
  return every.filter((entry) => matter.includes(entry));
}

// The caches that have something to draw.
export function known(report) {
  return Object.entries(report.caches).filter(([, cache]) => cache.series.some(isKnown));
}

function hasEvicted({ series }) {
  return series.some(({ evictions }) => evictions > 0);
}

export function lines(report, theme, value) {
  return shown(report).map(([alias, { series }], place) => {
    const step = stepOf(series);
    const placed = placeIn(report, step);
    const data = series.map((point) => placed(point.at, value(point, step)));
    return {
      type: "line",
      yAxisID: "y",
      label: alias,
      data,
      borderColor: theme.series[place],
      backgroundColor: theme.series[place],
      borderDash: DASHES[place],
      borderWidth: 2,
      pointRadius: radii(data, 3),
      pointHoverRadius: 4,
      pointHitRadius: 8,
      // The newest point stands at the edge and would be cut in half.
      clip: 8,
    };
  });
}

export function ratios(report, theme) {
  return lines(report, theme, ({ lookups, hits }) => (lookups ? (100 * hits) / lookups : null));
}

// The newest step is not over yet: nobody can tell how many calls a second it will have had.
export function rates(report, theme) {
  const until = Date.parse(report.until);
  return lines(report, theme, ({ at, calls }, step) =>
    step && Date.parse(at) + step <= until ? (1000 * calls) / step : null,
  );
}

// Three lines for each cache, in its colour.
export function percentiles(report, theme) {
  return Object.entries(PERCENTILES).flatMap(([name, width]) =>
    lines(report, theme, (point) => point[name]).map((line) => ({
      ...line,
      label: `${line.label} ${name}`,
      part: name,
      borderWidth: width,
      // One of them shows where the cache was, the others only crowd the chart.
      ...(name === "p99" ? {} : { pointRadius: 0, ghostless: true }),
    })),
  );
}

export function memory(report, theme) {
  return lines(report, theme, (point) => point.memory_bytes).map((line) => ({
    ...line,
    // Looks into a cache are rarer than the steps; between two of them it went on existing.
    spanGaps: true,
    pointRadius: line.data.filter(({ y }) => y !== null).length > 1 ? 0 : 3,
  }));
}

const knowsEvictions = ([, { series }]) => series.some((point) => point.evictions !== null);

export function knowEvictions(report) {
  return shown(report).some(knowsEvictions);
}

// The evictions of each cache where they are counted, beside each other: caches of one server
// would count the same evictions twice, were they stacked.
export function evictions(report, theme, labels) {
  return lines(report, theme, (point) => point.evictions)
    .filter(({ data }) => data.some(({ y }) => y !== null))
    .map(({ label: alias, data, backgroundColor }) => ({
      type: "bar",
      yAxisID: "evictions",
      label: labels.evictions_of.replace("%s", () => alias),
      part: labels.evictions,
      data,
      backgroundColor,
      stack: alias,
      // None at all is a line on the ground, and not to know is nothing.
      showsZero: true,
      minBarLength: 2,
      skipNull: true,
      ...BAR_WIDTHS,
    }));
}

// The misses by reason; a reason that nothing had is no part of the legend.
export function missesByReason(report, theme, labels) {
  return Object.entries(REASONS)
    .map(([name, colour]) =>
      bars(
        report, "misses", labels[name], theme.series[colour - 1],
        ({ miss_reasons: reasons }) => reasons?.[name] ?? 0,
      ),
    )
    .filter(({ data }) => data.some(({ y }) => y > 0));
}

// What all caches did together, step by step.
function bars(report, stack, label, colour, value) {
  const sums = new Map();
  let step = 0;
  for (const { series } of Object.values(report.caches)) {
    step = stepOf(series) || step;
    for (const point of series) sums.set(point.at, (sums.get(point.at) ?? 0) + value(point));
  }
  return {
    type: "bar",
    label,
    data: [...sums.keys()].sort().map((text) => placeIn(report, step)(text, sums.get(text))),
    backgroundColor: colour,
    stack,
    ...BAR_WIDTHS,
  };
}

// A step stands at its middle; the newest, which is not over yet, at the edge at the latest.
function placeIn(report, step) {
  const until = Date.parse(report.until);
  return (text, y) => {
    const at = Date.parse(text);
    return { x: Math.min(at + step / 2, until), y, at };
  };
}

// A measured step between two without figures has no line to be seen by. Where there is none, one
// number for all points spares Chart.js to ask for each.
function radii(data, radius) {
  const known = (at) => data[at] !== undefined && data[at].y !== null;
  const every = data.map((_, at) => (known(at) && !known(at - 1) && !known(at + 1) ? radius : 0));
  return every.some(Boolean) ? every : 0;
}

// The lines of the period before, where this one's stand: thin and pale.
export function ghosts(before, datasets, shift, text) {
  return before.flatMap((line) => {
    const now = datasets.find(({ label }) => label === line.label);
    if (!now || line.stack || line.ghostless) return [];
    return [{
      ...line,
      label: `${line.label}, ${text}`,
      data: line.data.map(({ x, y, at }) => ({ x: x + shift, y, at })),
      borderColor: `${now.borderColor}80`,
      backgroundColor: `${now.borderColor}80`,
      borderDash: [],
      borderWidth: 1,
      pointRadius: radii(line.data, 2),
    }];
  });
}
