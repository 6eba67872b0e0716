// Joins the parts: draws the charts from the JSON, and keeps the page fresh.

import { createCharts } from "./charts.js";
import { createFormats } from "./format.js";
import { morph } from "./morph.js";
import { createRefresh, Refusal } from "./refresh.js";
import { createTreemaps } from "./treemap.js";
import { createWhatIfs } from "./whatif.js";
import { createZoom, zoomed } from "./zoom.js";

const DRAWING = "cache-monitor-drawing";
const root = document.querySelector("[data-cm-root]");
const fragment = root.querySelector("[data-cm-fragment]");
const status = root.querySelector("[data-cm-status]");
const { compare, jsonUrl, partialUrl, refreshSeconds, timeZone, language, rtl, sizes } = root.dataset;

const chartJs = globalThis.Chart;
const formats = createFormats({ language, timeZone, sizes });
const drawers = chartJs
  ? [createCharts, createTreemaps, createWhatIfs].map((create) => create({ chartJs, root, formats, rtl: !!rtl }))
  : [];

const zoom = chartJs
  ? createZoom({
      chartJs,
      root,
      go: (since, until) => location.assign(zoomed(location.href, since, until)),
    })
  : null;

async function get(url) {
  // A session that has ended answers with a redirect to the login page.
  const response = await fetch(url, { redirect: "manual", credentials: "same-origin" });
  if (response.type === "opaqueredirect" || [400, 401, 403].includes(response.status)) {
    throw new Refusal(response.statusText);
  }
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return response;
}

async function drawCharts() {
  if (drawers.length && root.querySelector("[data-cm-chart], [data-cm-treemap], [data-cm-whatif]")) {
    const report = await (await get(jsonUrl)).json();
    const before = compare ? await reportBefore(report) : null;
    measured(() => drawers.forEach(({ draw }) => draw(report, before)));
  }
}

// How long drawing takes stands in the browser's own tools, the newest time alone.
function measured(draw) {
  const begin = performance.now();
  draw();
  performance.clearMeasures(DRAWING);
  performance.measure(DRAWING, { start: begin, end: performance.now() });
}

// The period that is as long and ends where the page's begins.
async function reportBefore({ since, until }) {
  const [start, end] = [Date.parse(since), Date.parse(until)];
  const url = new URL(jsonUrl, location.href);
  url.searchParams.delete("range");
  url.searchParams.set("since", new Date(2 * start - end).toISOString());
  url.searchParams.set("until", new Date(start).toISOString());
  return (await get(url)).json();
}

function showWhatIsMissing() {
  for (const notice of root.querySelectorAll("[data-cm-no-charts]")) notice.hidden = !!chartJs;
  if (!chartJs) for (const box of root.querySelectorAll(".cm-canvas")) box.hidden = true;
}

async function load() {
  // What is being marked must not move away.
  if (zoom?.active) return;
  const next = document.createElement("template");
  next.innerHTML = await (await get(partialUrl)).text();
  morph(fragment, wrap(next.content));
  showWhatIsMissing();
  wirePause();
  await drawCharts();
}

function wrap(content) {
  const box = fragment.cloneNode(false);
  box.append(content);
  return box;
}

function report(text) {
  status.hidden = !text;
  fragment.classList.toggle("cm-old", !!text);
  if (status.textContent !== text) status.textContent = text;
}

const refresh = createRefresh({
  every: Number(refreshSeconds) * 1000,
  load,
  onSuccess: () => report(""),
  onFailure(error) {
    const refused = error instanceof Refusal;
    report(refused ? root.dataset.textRefused : root.dataset.textFailed);
    if (refused) showPaused(true);
  },
});

function showPaused(paused) {
  const button = root.querySelector("[data-cm-pause]");
  if (button) button.textContent = paused ? root.dataset.textResume : root.dataset.textPause;
}

function wirePause() {
  const button = root.querySelector("[data-cm-pause]");
  if (!button || button.dataset.cmWired) return;
  button.dataset.cmWired = "1";
  button.hidden = false;
  button.addEventListener("click", () => showPaused(refresh.toggle()));
}

// A link to a cache whose section is closed opens it.
function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

window.addEventListener("hashchange", openTarget);
openTarget();
showWhatIsMissing();
drawCharts().catch(() => report(root.dataset.textFailed));
if (Number(refreshSeconds) > 0) {
  wirePause();
  refresh.start();
}
