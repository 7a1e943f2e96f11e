// What the scripts of all pages share. Text becomes a text node and nothing else.
const $ = (id) => document.getElementById(id);
const range = (start, stop) => Array.from({ length: Math.max(0, stop - start) }, (_, place) => start + place);

// ---- Elements

/** Make elements from a tag and its classes, as in "b.one", attributes that may be left out, and children, if any. */
const maker = (namespace) => (name, ...children) => {
  const [tag, ...classes] = name.split(".");
  const element = document.createElementNS(namespace, tag);
  const attributes = children[0]?.constructor === Object ? children.shift() : {};
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== false));
  return element;
};
const html = maker("http://www.w3.org/1999/xhtml");
const svg = maker("http://www.w3.org/2000/svg");

/** A table; its rows hold cells. */
function table(names, rows) {
  const head = names.map((name) => (name ? html("th", { scope: "col" }, name) : html("td")));
  return html("table", html("thead", html("tr", ...head)), html("tbody", ...rows.map((row) => html("tr", ...row))));
}

/** Large figures: each a figure, its words, and "good", "bad" or nothing. */
function drawTiles(id, entries) {
  const tile = ([figure, words, mood = ""]) =>
    html("div", { class: `tile ${mood}` }, html("b", figure), html("span", words));
  $(id).replaceChildren(...entries.map(tile));
}

/** Show a message where there is one. */
function tell(id, message) {
  $(id).textContent = message;
  $(id).hidden = !message;
}

// ---- Words

const grouped = (count) => count.toLocaleString("en");
const counted = (count, thing) => `${grouped(count)} ${thing}${count === 1 ? "" : "s"}`;
const spanned = (thing, first, last, to = "-") =>
  first === last ? `${thing} ${first}` : `${thing}s ${first}${to}${last}`;

// ---- The address, which holds the state of the page

/** A whole number that somebody typed; null where it is none, or out of bounds. */
const readWhole = (text, least, most) => (/^\d{1,6}$/.test(text) && +text >= least && +text <= most ? +text : null);

let waiting = 0;
/** Write names and values into the address, a little later: browsers refuse one that changes many times a second. */
function writeAddress(parts) {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    try {
      history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
    } catch {
      // A frame inside another page, as in a notebook, has no address of its own.
    }
  }, 120);
}

/** Follow an address that somebody gives; a write that waited may have replaced it before the browser tells of it. */
function onAddress(follow) {
  window.addEventListener("hashchange", ({ newURL }) => follow(new URL(newURL).hash));
}

// ---- What a person does

/** Let keys act, but those that the browser or a control takes. */
function onKeys(element, actions, taken = () => false) {
  element.addEventListener("keydown", (event) => {
    const { key, altKey, ctrlKey, metaKey, shiftKey } = event;
    const browsers = altKey || ctrlKey || metaKey || (shiftKey && (key === " " || key.length > 1));
    if (browsers || !Object.hasOwn(actions, key) || taken(event)) return;
    event.preventDefault();
    actions[key]();
  });
}

/** Draw again when an element has another width. */
function onResize(element, draw) {
  let width = element.clientWidth;
  new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    draw();
  }).observe(element);
}
