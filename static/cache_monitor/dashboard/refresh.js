// Fetches again and again while somebody looks; slower while the server fails.

const SLOWEST = 60_000;

export class Refusal extends Error {}

export function createRefresh({ every, load, onFailure, onSuccess }) {
  let timer = null;
  let failures = 0;
  let paused = false;
  let running = false;

  async function run() {
    timer = null;
    if (running) return;
    running = true;
    try {
      await load();
      failures = 0;
      onSuccess();
    } catch (error) {
      failures += 1;
      onFailure(error);
      // Asking again does not bring a login back.
      if (error instanceof Refusal) paused = true;
    } finally {
      running = false;
      schedule();
    }
  }

  function schedule(delay = Math.max(every, Math.min(SLOWEST, every * 2 ** failures))) {
    clearTimeout(timer);
    timer = paused || document.hidden ? null : setTimeout(run, delay);
  }

  return {
    start() {
      document.addEventListener("visibilitychange", () => schedule(document.hidden ? undefined : 0));
      schedule();
    },
    toggle() {
      paused = !paused;
      schedule(paused ? undefined : 0);
      return paused;
    },
  };
}
