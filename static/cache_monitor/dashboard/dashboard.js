// Joins the parts: draws the charts from the JSON, and keeps the page fresh.

import { createCharts } from "./charts.js";
import { createFormats } from "./format.js";
import { morph } from "./morph.js";
import { createRefresh, Refusal } from "./refresh.js";

const root = document.querySelector("[data-cm-root]");
const fragment = root.querySelector("[data-cm-fragment]");
const status = root.querySelector("[data-cm-status]");
const { jsonUrl, partialUrl, refreshSeconds, timeZone, language, rtl } = root.dataset;

const chartJs = globalThis.Chart;
const charts = chartJs
  ? createCharts({ chartJs, root, formats: createFormats({ language, timeZone }), rtl: !!rtl })
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
  if (charts && root.querySelector("[data-cm-chart]")) {
    charts.draw(await (await get(jsonUrl)).json());
  }
}

function showWhatIsMissing() {
  for (const notice of root.querySelectorAll("[data-cm-no-charts]")) notice.hidden = !!chartJs;
  if (!chartJs) for (const box of root.querySelectorAll(".cm-canvas")) box.hidden = true;
}

async function load() {
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
