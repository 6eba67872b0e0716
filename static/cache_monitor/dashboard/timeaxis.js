// The axis of time that all charts share.

const STEPS = [
  ...[10, 20, 30].map((seconds) => seconds * 1e3),
  ...[1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080].map((m) => m * 60e3),
];

export function stepOf(series) {
  return series.length > 1 ? Date.parse(series[1].at) - Date.parse(series[0].at) : 0;
}

// From when on something is known. A new site's first minutes would be a sliver at the edge of an
// hour that nobody measured.
function beginning(report) {
  const since = Date.parse(report.since);
  const until = Date.parse(report.until);
  const first = Object.values(report.caches).flatMap(({ series }) => {
    const point = series.find(isKnown);
    return point ? [Date.parse(point.at)] : [];
  });
  const begins = Math.min(until, ...first);
  return begins > since + (until - since) / 10 ? begins : since;
}

export function isKnown({ lookups, p99, memory_bytes, evictions }) {
  return lookups > 0 || p99 !== null || memory_bytes !== null || evictions !== null;
}

export function timeAxis(report, theme, formats) {
  const min = beginning(report);
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
