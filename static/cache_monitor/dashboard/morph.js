// Makes one piece of the page like another in place, so that a refresh keeps what the reader has
// opened, scrolled, selected and focused.

export function morph(from, to) {
  syncAttributes(from, to);
  syncChildren(from, to);
}

function syncAttributes(from, to) {
  for (const { name } of [...from.attributes]) {
    // Whether a table is open is the reader's choice, not the server's.
    if (!to.hasAttribute(name) && name !== "open") from.removeAttribute(name);
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
}

function syncChildren(from, to) {
  const wanted = [...to.childNodes];
  wanted.forEach((next, place) => {
    const current = from.childNodes[place];
    if (!current) from.append(next);
    else if (!alike(current, next)) current.replaceWith(next);
    else if (current.nodeType === Node.TEXT_NODE) {
      if (current.data !== next.data) current.data = next.data;
    } else if (current.nodeType === Node.ELEMENT_NODE && !current.hasAttribute("data-cm-keep")) {
      morph(current, next);
    }
  });
  while (from.childNodes.length > wanted.length) from.lastChild.remove();
}

function alike(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && one.id === other.id;
}
