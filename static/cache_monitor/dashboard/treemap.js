// What the key groups of a cache weigh, as areas.

import { createRedrawn } from "./redrawn.js";
import { filling, tooltipLook } from "./theme.js";

const FONT = { size: 11 };
const LETTER_WIDTH = 6.2;
// Fewer letters of a name say nothing; the tooltip and the table have all of them.
const LEAST_LETTERS = 5;

export function createTreemaps({ chartJs, root, formats, rtl }) {
  function configure(canvas, report, theme) {
    const groups = report.caches[canvas.dataset.cmTreemap]?.memory.groups ?? [];
    const tree = groups.filter(({ bytes }) => bytes > 0);
    return {
      type: "treemap",
      data: { datasets: [dataset(tree, theme)] },
      options: {
        ...filling,
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

  return createRedrawn({ chartJs, root }, "canvas[data-cm-treemap]", configure);
}

// The lines as far as they fit into an area of this width.
function fitting(lines, width) {
  const most = Math.floor(width / LETTER_WIDTH) - 1;
  if (most < LEAST_LETTERS) return "";
  return lines.map((text) => (text.length > most ? `${text.slice(0, most - 1)}…` : text));
}
