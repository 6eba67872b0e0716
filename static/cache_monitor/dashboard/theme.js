// The colours that the page has now, in its light or its dark theme.

const SERIES = [1, 2, 3, 4, 5, 6, 7, 8];

export function readTheme(element) {
  const style = getComputedStyle(element);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    text: read("--cm-quiet"),
    grid: read("--cm-hairline"),
    border: read("--cm-border"),
    tooltip: read("--cm-raised"),
    tooltipText: style.color,
    hit: read("--cm-hit"),
    miss: read("--cm-miss"),
    onHit: read("--cm-on-hit"),
    series: SERIES.map((number) => read(`--cm-series-${number}`)),
  };
}

export function onThemeChange(redraw) {
  new MutationObserver(redraw).observe(document.documentElement, {
    attributeFilter: ["data-theme", "class"],
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

// A chart fills the box that the style sheet gives it.
export const filling = { animation: false, responsive: true, maintainAspectRatio: false };

export function tooltipLook(theme, rtl) {
  return {
    rtl,
    backgroundColor: theme.tooltip,
    titleColor: theme.tooltipText,
    bodyColor: theme.tooltipText,
    borderColor: theme.border,
    borderWidth: 1,
  };
}
