// Filters and sorts the calls in the debug toolbar's panel. Without it the table is complete.
//
// The toolbar puts the panel into its shadow tree whenever it likes: on a click, for another request
// of its history, after a page was replaced by htmx. So nothing here holds on to an element; the
// document hears of everything, because these events leave a shadow tree.

const VALUES = {
  number: (row) => Number(row.dataset.number),
  time: (row) => -Number(row.dataset.time),
  size: (row) => -Number(row.dataset.size),
};

function inPanel(event, selector) {
  const target = event.composedPath()[0];
  const found = target instanceof Element ? target.closest(selector) : null;
  return found?.closest(".cm-panel") ? found : null;
}

function panelOf(element) {
  return element.closest(".cm-panel");
}

function rowsOf(panel) {
  return [...panel.querySelectorAll(".cm-calls > tbody > tr")];
}

function filter(panel) {
  const chosen = [...panel.querySelectorAll("[data-filter]")].filter((select) => select.value);
  let listed = 0;
  for (const row of rowsOf(panel)) {
    const fits = chosen.every((select) =>
      row.dataset[select.dataset.filter].split(" ").includes(select.value),
    );
    row.hidden = !fits;
    listed += fits ? 1 : 0;
  }
  panel.querySelector(".cm-listed > span").textContent = listed.toLocaleString(
    document.documentElement.lang || undefined,
  );
}

function sort(button) {
  const panel = panelOf(button);
  const value = VALUES[button.dataset.sort];
  // Sorting is stable: what is alike stays in the order of the calls.
  const rows = rowsOf(panel).sort((a, b) => VALUES.number(a) - VALUES.number(b));
  rows.sort((a, b) => value(a) - value(b));
  panel.querySelector(".cm-calls > tbody").append(...rows);
  for (const each of panel.querySelectorAll(".cm-sort")) {
    each.closest("th").removeAttribute("aria-sort");
  }
  const order = button.dataset.sort === "number" ? "ascending" : "descending";
  button.closest("th").setAttribute("aria-sort", order);
}

function rowOf(panel, number) {
  return panel.querySelector(`.cm-calls > tbody > tr[data-number="${number}"]`);
}

function showCall(bar) {
  const panel = panelOf(bar);
  const row = rowOf(panel, bar.dataset.call);
  if (!row) {
    return;
  }
  for (const each of panel.querySelectorAll(".cm-shown")) {
    each.classList.remove("cm-shown");
  }
  row.hidden = false;
  row.classList.add("cm-shown");
  row.scrollIntoView({ block: "center" });
}

// A stack that several calls have in common is in the page once.
function borrowStack(details) {
  const stack = rowOf(panelOf(details), details.dataset.sameAs)?.querySelector(".cm-stack");
  if (stack && !details.querySelector(".cm-stack")) {
    details.append(stack.cloneNode(true));
  }
}

document.addEventListener("input", (event) => {
  const select = inPanel(event, "[data-filter]");
  if (select) {
    filter(panelOf(select));
  }
});

document.addEventListener("click", (event) => {
  const button = inPanel(event, ".cm-sort");
  const bar = inPanel(event, "[data-call]");
  const details = inPanel(event, "details[data-same-as]");
  if (button) {
    sort(button);
  } else if (bar) {
    showCall(bar);
  } else if (details) {
    borrowStack(details);
  }
});
