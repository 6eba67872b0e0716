// Figures and times as the page's language and time zone write them.

const KIB = 1024;

// sizes: Django's texts for one byte, for bytes, and for each larger unit, with %s for the number.
export function createFormats({ language, timeZone, sizes }) {
  const locale = supported(language);
  const zone = knownZone(timeZone);
  const sizeTexts = sizes.split("|");
  // To make one costs as much as to write a hundred numbers with it.
  const writers = [[0, 0], [1, 0], [2, 0], [1, 1]].map(([most, least]) => ({
    most,
    least,
    writer: new Intl.NumberFormat(locale, {
      maximumFractionDigits: most, minimumFractionDigits: least,
    }),
  }));
  const number = (value, digits = 0, fewest = 0) =>
    writers.find(({ most, least }) => most === digits && least === fewest).writer.format(value);
  const share = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 });
  const clock = (options) => new Intl.DateTimeFormat(locale, { timeZone: zone, ...options });
  const time = clock({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const seconds = clock({
    hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
  });
  const day = clock({ month: "short", day: "numeric" });
  const significant = new Intl.NumberFormat(locale, { maximumSignificantDigits: 2 });
  const compact = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });

  return {
    count: (value) => number(value),
    decimal: (value) => number(value, 2),
    compact: (value) => compact.format(value),
    significant: (value) => significant.format(value),
    percent: (value) => percent(value, (it) => share.format(it / 100)),
    duration: (value) => scaled(value, number),
    // As everywhere else on the page; a tick's tenths would only be zeros.
    size: (value) => bytes(value, sizeTexts, (it) => number(it, 1, 1)),
    sizeTick: (value) => bytes(value, sizeTexts, (it) => number(it, 1)),
    tick: (at, step) => (step >= 86400e3 ? day : step < 60e3 ? seconds : time).format(at),
    moment: (at) => `${day.format(at)}, ${seconds.format(at)}`,
    offset: (at) => zoneOffset(at, zone),
  };
}

// As everywhere else on the page: only a true 0 or 100 reads as one.
function percent(value, written) {
  if (value > 0 && value < 0.1) return `<${written(0.1)}`;
  if (value > 99.9 && value < 100) return `>${written(99.9)}`;
  return written(value);
}

function scaled(value, number) {
  if (value === 0) return "0";
  if (value < 1e-3) return `${number(value * 1e6, 1)}\u202fµs`;
  if (value < 1) return `${number(value * 1e3, 2)}\u202fms`;
  return `${number(value, 2)}\u202fs`;
}

function bytes(value, [one, some, ...larger], number) {
  if (value < KIB) return (value === 1 ? one : some).replace("%s", Math.round(value));
  let unit = 0;
  for (value /= KIB; value >= KIB && unit < larger.length - 1; value /= KIB) unit += 1;
  return larger[unit].replace("%s", number(value));
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
