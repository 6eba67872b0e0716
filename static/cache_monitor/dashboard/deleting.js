// A deletion in steps goes on by itself; without this script, with a click for each step.

const PAUSE = 300;

setTimeout(() => document.querySelector("[data-cm-continue]")?.requestSubmit(), PAUSE);
