// Charts that are made anew for every report and every theme: their plugins keep what they laid out.

import { onThemeChange, readTheme } from "./theme.js";

// configure: the configuration for a canvas; nothing where there is nothing to draw.
export function createRedrawn({ chartJs, root }, selector, configure) {
  let drawn = [];
  let latest = null;

  function draw(report) {
    latest = report;
    const theme = readTheme(root);
    for (const chart of drawn) chart.destroy();
    drawn = [...root.querySelectorAll(selector)].flatMap((canvas) => {
      const config = configure(canvas, report, theme);
      return config ? [new chartJs(canvas, config)] : [];
    });
  }

  onThemeChange(() => latest && draw(latest));
  return { draw };
}
