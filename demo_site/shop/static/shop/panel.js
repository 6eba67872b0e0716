// Opens the monitor's panel in the debug toolbar when an address ends in #cache-panel, so that the
// tour can link to it. Without the toolbar (DEBUG off) nothing happens.

const ADDRESS = "#cache-panel";
const PATIENCE = 5000;
const PAUSE = 50;

function toolbar() {
  const host = document.getElementById("djDebugRoot");
  const found = (host?.shadowRoot ?? host)?.querySelector("#djDebug");
  // The toolbar's own script, which loads when it likes, shows it once it listens to clicks.
  return found && !found.classList.contains("djdt-hidden") ? found : null;
}

function open(deadline) {
  const found = toolbar();
  const button = found?.querySelector("a.CacheMonitorPanel");
  if (button) {
    found.querySelector("#djShowToolBarButton").click();
    if (button.getAttribute("aria-expanded") !== "true") {
      button.click();
    }
    // The toolbar would stay open on every later page, and lie over it.
    localStorage.setItem("djdt.show", "false");
  } else if (performance.now() < deadline) {
    setTimeout(open, PAUSE, deadline);
  }
}

function follow() {
  if (location.hash === ADDRESS) {
    open(performance.now() + PATIENCE);
    // The same link is to work again after the panel was closed.
    history.replaceState(null, "", location.pathname + location.search);
  }
}

addEventListener("hashchange", follow);
follow();
