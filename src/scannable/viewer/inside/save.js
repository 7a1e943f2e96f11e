// Saving the drawing: colours are in it already, and what the style sheet adds is written into it.

const fonts = ["font-size", "font-family", "font-weight", "text-anchor"];
const styled = [...fonts, "fill", "stroke", "stroke-width", "stroke-dasharray", "paint-order"];

function picture() {
  const drawing = $("map").querySelector("svg");
  const copy = drawing.cloneNode(true);
  const originals = drawing.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((element, place) => {
    const style = getComputedStyle(originals[place]);
    const bare = ["g", "title"].includes(element.tagName);
    for (const key of bare ? [] : styled) element.setAttribute(key, style.getPropertyValue(key));
  });
  copy.prepend(svg("rect", { width: "100%", height: "100%", fill: css(palette.card) }));
  for (const element of [copy, ...copy.querySelectorAll("*")])
    for (const name of element.getAttributeNames())
      if (/^(class|aria-|data-)/.test(name)) element.removeAttribute(name);
  return new XMLSerializer().serializeToString(copy);
}

function save(blob, ending) {
  const link = html("a", { href: URL.createObjectURL(blob), download: `scannable-trace.${ending}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const saves = {
  svg: () => save(new Blob([picture()], { type: "image/svg+xml" }), "svg"),
  png: async () => {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(picture())}`;
    await image.decode();
    const canvas = html("canvas", { width: 2 * image.width, height: 2 * image.height });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    // Not toBlob: it waits for a pause in drawing, which may not come.
    const bytes = atob(canvas.toDataURL("image/png").split(",")[1]);
    save(new Blob([Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))], { type: "image/png" }), "png");
  },
};
