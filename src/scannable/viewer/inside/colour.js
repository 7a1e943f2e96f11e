// Colours, from the page's own palette, so that a drawing that is saved has them too.

let palette = {};
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["card", "ink", "line", "soft", "tone0", "tone1", "tone2", "good", "bad"];
  const parts = (name) => style.getPropertyValue(`--${name}`).match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
  palette = Object.fromEntries(names.map((name) => [name, parts(name)]));
}
const css = (colour) => `rgb(${colour.map(Math.round).join(", ")})`;
const mix = (one, other, share) => one.map((part, place) => part + (other[place] - part) * share);
const toned = (name, share) => mix(palette.card, palette[name], 0.1 + 0.9 * Math.max(0, Math.min(1, share)));

/** Dark or white ink, whichever is read better on a colour (WCAG 2.2, relative luminance). */
function inkOn(colour) {
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const [red, green, blue] = colour.map((part) => linear(part / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.19 ? [17, 17, 17] : [255, 255, 255];
}

/** The colour of a value of the measure that is shown; null where there is none. */
function colourOf(value) {
  if (value === null || !shown.ends[state.measure]) return null;
  if (state.measure === "element") return palette[value ? "good" : "bad"];
  if (state.measure === "attention") return toned(value > 0.5 ? "tone1" : "tone0", Math.abs(2 * value - 1));
  return toned(state.measure === "correct" ? "tone2" : "tone0", strength(value));
}
