// Figures and times as the page's language and time zone write them.

const KIB = 1024;
const SIZES = ["B", "KB", "MB", "GB", "TB", "PB"];

export function createFormats({ language, timeZone }) {
  const locale = supported(language);
  const zone = knownZone(timeZone);
  const number = (value, digits = 0) =>
    new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(value);
  const clock = (options) => new Intl.DateTimeFormat(locale, { timeZone: zone, ...options });
  const time = clock({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const seconds = clock({
    hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });
  const day = clock({ month: "short", day: "numeric" });
  const compact = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });

  return {
    count: (value) => number(value),
    compact: (value) => compact.format(value),
    percent: (value) => `${number(value, 1)}%`,
    duration: (value) => scaled(value, number),
    size: (value) => bytes(value, number),
    tick: (at, step) => (step >= 86400e3 ? day : time).format(at),
    moment: (at) => `${day.format(at)}, ${seconds.format(at)}`,
    offset: (at) => zoneOffset(at, zone),
  };
}

function scaled(value, number) {
  if (value === 0) return "0";
  if (value < 1e-3) return `${number(value * 1e6, 1)}\u202fµs`;
  if (value < 1) return `${number(value * 1e3, 2)}\u202fms`;
  return `${number(value, 2)}\u202fs`;
}

function bytes(value, number) {
  let unit = 0;
  while (value >= KIB && unit < SIZES.length - 1) {
    value /= KIB;
    unit += 1;
  }
  return `${number(value, 1)}\u202f${SIZES[unit]}`;
}

function supported(language) {
  try {
    return Intl.getCanonicalLocales(language)[0];
  } catch {
    return undefined;
  }
}

// Django knows zones that a browser may not; the browser's own is the next best.
function knownZone(timeZone) {
  try {
    new Intl.DateTimeFormat("en", { timeZone });
    return timeZone;
  } catch {
    return undefined;
  }
}

// How far the zone is ahead of UTC at a moment, in milliseconds: puts ticks on the zone's own hours.
function zoneOffset(at, timeZone) {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric",
    hour: "numeric", minute: "numeric", second: "numeric",
  });
  const part = Object.fromEntries(
    format.formatToParts(at).map(({ type, value }) => [type, Number(value)]),
  );
  const wall = Date.UTC(
    part.year, part.month - 1, part.day, part.hour, part.minute, part.second,
  );
  return wall - Math.floor(at / 1000) * 1000;
}
