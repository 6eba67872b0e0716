// What the key groups of a cache weigh, as areas.

import { onThemeChange, readTheme, tooltipLook } from "./theme.js";

const FONT = { size: 11 };
const LETTER_WIDTH = 6.2;
// Fewer letters of a name say nothing; the tooltip and the table have all of them.
const LEAST_LETTERS = 5;

export function createTreemaps({ chartJs, root, formats, rtl }) {
  const drawn = new Map();
  let latest = null;

  function draw(report) {
    latest = report;
    const theme = readTheme(root);
    for (const canvas of root.querySelectorAll("canvas[data-cm-treemap]")) {
      const memory = report.caches[canvas.dataset.cmTreemap]?.memory;
      const tree = (memory?.groups ?? []).filter(({ bytes }) => bytes > 0);
      // The plugin keeps what it has laid out once, so every report gets a new chart.
      drawn.get(canvas)?.destroy();
      drawn.set(canvas, new chartJs(canvas, configure(tree, theme)));
    }
  }

  function configure(tree, theme) {
    return {
      type: "treemap",
      data: { datasets: [dataset(tree, theme)] },
      options: {
        animation: false,
        responsive: true,
        maintainAspectRatio: false,
        plugins: {
          legend: { display: false },
          tooltip: {
            ...tooltipLook(theme, rtl),
            displayColors: false,
            callbacks: {
              title: ([item]) => (item ? item.raw._data.label : ""),
              label: ({ raw }) => formats.size(raw.v),
            },
          },
        },
      },
    };
  }

  function dataset(tree, theme) {
    return {
      tree,
      key: "bytes",
      groups: ["group"],
      spacing: 1,
      borderWidth: 0,
      borderRadius: 3,
      backgroundColor: theme.hit,
      hoverBackgroundColor: theme.hit,
      rtl,
      labels: {
        display: true,
        align: rtl ? "right" : "left",
        position: "top",
        color: theme.onHit,
        hoverColor: theme.onHit,
        font: FONT,
        overflow: "cut",
        formatter: ({ raw }) => fitting([raw._data.label, formats.size(raw.v)], raw.w),
      },
    };
  }

  onThemeChange(() => latest && draw(latest));
  return { draw };
}

// The lines as far as they fit into an area of this width.
function fitting(lines, width) {
  const most = Math.floor(width / LETTER_WIDTH) - 1;
  if (most < LEAST_LETTERS) return "";
  return lines.map((text) => (text.length > most ? `${text.slice(0, most - 1)}…` : text));
}
