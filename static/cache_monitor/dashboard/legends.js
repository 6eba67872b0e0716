// What stands below a chart. The caches' names stand above all charts, once.

import { known, shown } from "./datasets.js";

export function barLegend(theme, rtl) {
  return {
    ...look(rtl),
    labels: {
      color: theme.text,
      boxWidth: 10,
      boxHeight: 10,
      filter: ({ datasetIndex }, { datasets }) => !!datasets[datasetIndex].stack,
    },
  };
}

// One item for each part that all caches have, such as a percentile, which hides it for all.
export function partLegend(theme, rtl, datasets) {
  if (!datasets.some(({ part }) => part)) return { display: false };
  return {
    ...look(rtl),
    labels: {
      color: theme.text,
      usePointStyle: true,
      pointStyleWidth: datasets.some(isBar) ? 10 : 24,
      generateLabels: (chart) => firsts(chart).map((place) => itemOf(chart, place, theme)),
    },
    onClick: (_, { text }, { chart }) => {
      chart.data.datasets.forEach(({ part }, place) => {
        if (part === text) chart.setDatasetVisibility(place, !chart.isDatasetVisible(place));
      });
      chart.update("none");
    },
  };
}

function look(rtl) {
  return { display: true, position: "bottom", align: "start", rtl };
}

// The first dataset of each part.
function firsts(chart) {
  const names = chart.data.datasets.map(({ part }) => part);
  return [...new Set(names)].filter(Boolean).map((name) => names.indexOf(name));
}

function itemOf(chart, place, theme) {
  const { datasets } = chart.data;
  const dataset = datasets[place];
  const { part, borderWidth } = dataset;
  const isAlone = datasets.filter((each) => each.part === part).length === 1;
  const colour = isBar(dataset) && isAlone ? dataset.backgroundColor : theme.text;
  return {
    text: part,
    datasetIndex: place,
    hidden: !chart.isDatasetVisible(place),
    fontColor: theme.text,
    fillStyle: colour,
    strokeStyle: colour,
    lineWidth: borderWidth,
    pointStyle: isBar(dataset) ? "rect" : "line",
  };
}

function isBar({ type }) {
  return type === "bar";
}

// Which line is which cache's, for all charts, and that there are more caches than lines.
export function writeLegend(list, report, textSome) {
  if (!list) return;
  const names = shown(report).map(([alias]) => alias);
  const all = known(report).length;
  list.hidden = names.length < 2;
  list.replaceChildren(...names.map((name, place) => entry(`cm-legend-${place + 1}`, name)));
  if (all > names.length) {
    const some = textSome.replace("{shown}", names.length).replace("{all}", all);
    list.append(entry("cm-legend-some cm-quiet", some));
  }
}

function entry(className, text) {
  const item = document.createElement("li");
  item.className = className;
  item.textContent = text;
  return item;
}
