// Drag over a chart to look closer: the page is asked again for the stretch that was marked.

// Less than this was a click, or a hand that shook.
const LEAST_PIXELS = 8;
const LEAST_TIME = 60_000;

export function createZoom({ chartJs, root, go }) {
  let drag = null;

  root.addEventListener("pointerdown", (event) => {
    const canvas = event.target.closest?.("canvas[data-cm-chart]");
    const chart = canvas && chartJs.getChart(canvas);
    // A finger scrolls the page.
    if (!chart || event.button !== 0 || event.pointerType === "touch") return;
    const { left, right } = chart.chartArea;
    const at = within(event.offsetX, left, right);
    const mark = document.createElement("div");
    mark.className = "cm-mark";
    canvas.parentElement.append(mark);
    drag = { canvas, chart, mark, from: at, to: at, left, right };
    canvas.setPointerCapture(event.pointerId);
  });

  root.addEventListener("pointermove", (event) => {
    if (!drag || event.target !== drag.canvas) return;
    drag.to = within(event.offsetX, drag.left, drag.right);
    const [start, end] = inOrder(drag);
    // Whichever way the page is written, time goes from the left to the right.
    drag.mark.style.left = `${start}px`;
    drag.mark.style.width = `${end - start}px`;
  });

  root.addEventListener("pointerup", () => {
    if (!drag) return;
    const { chart, mark } = drag;
    const [start, end] = inOrder(drag);
    mark.remove();
    drag = null;
    if (end - start < LEAST_PIXELS) return;
    const [since, until] = [start, end].map((x) => chart.scales.x.getValueForPixel(x));
    go(moment(since), moment(Math.max(until, since + LEAST_TIME)));
  });

  root.addEventListener("pointercancel", () => {
    drag?.mark.remove();
    drag = null;
  });

  return {
    get active() {
      return drag !== null;
    },
  };
}

// The address of this page for another period; a page of a table would be another one then.
export function zoomed(address, since, until) {
  const url = new URL(address);
  url.searchParams.delete("range");
  url.searchParams.delete("page");
  url.searchParams.set("since", since);
  url.searchParams.set("until", until);
  url.hash = "";
  return url.href;
}

function within(x, left, right) {
  return Math.min(right, Math.max(left, x));
}

function inOrder({ from, to }) {
  return from < to ? [from, to] : [to, from];
}

function moment(at) {
  return `${new Date(at).toISOString().slice(0, 19)}Z`;
}
