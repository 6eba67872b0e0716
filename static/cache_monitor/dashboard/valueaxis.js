// The axes of figures. All have the same room for their labels, so that the times of all charts
// stand below each other.

const LABELS_WIDTH = 60;
const ROOM_ABOVE = 1.35;
const LABELS_BELOW = 1.2;

export function valueAxis(kind, theme, datasets) {
  // Bars have an axis of their own.
  const largest = Math.max(0, ...valuesOf(datasets.filter(({ type }) => type !== "bar")));
  return {
    beginAtZero: true,
    // Without figures Chart.js would count from 0 to 1 of a unit that nobody measured.
    ...(largest === 0 && kind.axis.max === undefined ? { suggestedMax: 1 } : {}),
    ...kind.axis,
    ...axisLook(theme, { maxTicksLimit: 6, stepSize: kind.step?.(largest), ...kind.axis.ticks }),
  };
}

// The bars of a chart of lines have an axis of their own below them. Its highest label stays away
// from the lowest one of the lines' axis.
export function barAxis(theme, datasets, formats) {
  const sums = new Map();
  for (const { stack, data } of datasets) {
    if (!stack) continue;
    for (const { x, y } of data) {
      const bar = `${x} ${stack}`;
      sums.set(bar, (sums.get(bar) ?? 0) + y);
    }
  }
  return {
    axis: "y",
    stack: "chart",
    stackWeight: 2,
    stacked: true,
    beginAtZero: true,
    max: ROOM_ABOVE * Math.max(1, ...sums.values()),
    ...axisLook(theme, {
      maxTicksLimit: 4, precision: 0, includeBounds: false, callback: (v) => formats.compact(v),
    }),
    // Chart.js chooses round numbers, one of which may be just below the top.
    afterBuildTicks(axis) {
      axis.ticks = axis.ticks.filter(({ value }) => value <= axis.max / LABELS_BELOW);
    },
  };
}

// From the power of ten below the least to the one above the most: a lookup in memory and a slow
// server have to fit into one chart.
export function powersAxis(theme, datasets, text) {
  const values = valuesOf(datasets).filter((value) => value > 0);
  const least = Math.floor(Math.log10(Math.min(...values, 1)));
  const most = Math.max(least + 1, Math.ceil(Math.log10(Math.max(...values, 1e-6))));
  return {
    type: "logarithmic",
    min: 10 ** least,
    max: 10 ** most,
    ...axisLook(theme, { autoSkip: false, callback: (v) => text(v) }),
    afterBuildTicks(axis) {
      axis.ticks = Array.from({ length: most - least + 1 }, (_, n) => ({ value: 10 ** (least + n) }));
    },
  };
}

// Sizes read well in steps of a power of two.
export function binaryStep(largest) {
  return largest > 4 ? 2 ** Math.ceil(Math.log2(largest / 4)) : undefined;
}

function valuesOf(datasets) {
  return datasets.flatMap(({ data }) => data.map(({ y }) => y ?? 0));
}

// What all axes of figures have in common.
export function axisLook(theme, ticks) {
  return {
    grid: { color: theme.grid },
    border: { display: false },
    ticks: { color: theme.text, ...ticks },
    afterFit(axis) {
      axis.width = Math.max(axis.width, LABELS_WIDTH);
    },
  };
}
