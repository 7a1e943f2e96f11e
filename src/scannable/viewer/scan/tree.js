// The tree: a column for each chunk, a row for each call; a node stands in the column of its last chunk.

const HIGH = 26;
const GUTTER = 34;

/** Draw the tree of what is in view, with nothing lit. */
function drawTree() {
  const { length, states } = view;
  const { calls, prefixes, up } = view.parallel;
  const wide = Math.min(104, (Math.max(240, $("tree").clientWidth) - GUTTER - 4) / length);
  const high = length > 16 ? 42 : 48;
  const bottom = calls.length + 1;
  const line = new Map([range(0, length), ...calls].flatMap((nodes, row) => nodes.map((node) => [node, row])));
  const x = (node) => GUTTER + (span(node)[1] - 0.5) * wide;
  const y = (row) => 20 + row * high;
  const edge = (to, from, path) =>
    svg(`path.edge.${kind(to)}`, { d: `M${x(from)} ${y(line.get(from))}${path}`, "data-to": to });
  const joins = [...line].flatMap(([node, row]) => {
    const bend = kind(node) === "up" ? y(row) : y(row - 1) + HIGH / 2;
    return operands(node).map((from) => edge(node, from, `V${bend}L${x(node)} ${y(row)}`));
  });
  const falls = prefixes.map((node) => edge(node, node, `V${y(bottom)}`));
  const shape = (node, row) => drawShape(node, states[node], x(node), y(row), wide, row < bottom);
  view.edges = [...joins, ...falls];
  view.shapes = [...line].map(([node, row]) => shape(node, row));
  view.outs = prefixes.map((node) => shape(node, bottom));

  const signs = ["in", ...calls.map((_, call) => (call < up ? "up" : "down")), "out"];
  const labels = signs.map((sign, row) => svg("text.row", { x: 0, y: y(row) }, sign));
  const [width, height] = [GUTTER + wide * length + 4, y(bottom) + 24];
  const merges = counted(calls.length, "row");
  const words = `First row: ${counted(length, "chunk")}; then ${merges} of merges; last row: the prefixes.`;
  const size = { width, height, viewBox: `0 0 ${width} ${height}` };
  const drawing = svg("svg", { ...size, role: "img", "aria-labelledby": "tree-title tree-words" });
  drawing.append(svg("title", { id: "tree-title" }, "The tree of the scan"), svg("desc", { id: "tree-words" }, words));
  drawing.append(...labels, ...view.edges, ...view.shapes, ...view.outs);
  $("tree").replaceChildren(drawing);
}

function drawShape(node, { text, brackets }, x, y, wide, inside) {
  const isBar = kind(node) === "up" && inside; // a bar lies over all chunks of its tree
  const [start, stop] = span(node);
  const width = (isBar ? stop - start : 1) * wide - 3;
  const left = x + wide / 2 - 1.5 - width;
  const value = drawValue(text, left + width / 2, y, width);
  const shape =
    isBar || value
      ? svg("rect.shape", { x: left, y: y - HIGH / 2, width, height: HIGH, rx: Math.min(8, wide / 2) })
      : svg("circle.shape", { cx: x, cy: y, r: Math.min(7, wide / 2 - 1) });
  const title = svg("title", `${named(node)}: ${text}, bracketed ${brackets}`);
  return svg(`g.${kind(node)}`, { "data-node": node }, title, shape, value);
}

/** Write a state where there is room for it; null where there is not. */
function drawValue(text, x, y, room) {
  if (state.operator !== "cards") {
    const signs = [...text].reduce((sum, sign) => sum + (sign < "\u1100" ? 1 : 2), 0); // others are twice as wide
    return 7.3 * signs + 4 <= room ? svg("text.value", { x, y }, text) : null;
  }
  const card = Math.min(13, room / 5 - 1);
  if (card < 5) return null;
  const cards = [...text].flatMap((name, place) => {
    const left = x + (place - 2.5) * (card + 1) + 0.5;
    const box = svg(`rect.card${name}`, { x: left, y: y - 8, width: card, height: 16, rx: 2 });
    return card < 8 ? [box] : [box, svg("text", { x: left + card / 2, y }, name)];
  });
  return svg("g.cards", ...cards);
}

/** Light up what this step merges, and show what is there by now. */
function lightTree() {
  const { frame, edges, shapes, outs } = view;
  const done = doneOn("left");
  const touched = frame.left.length ? frame.left.flatMap(operands) : [frame.chunk];
  for (const element of [...edges, ...shapes, ...outs]) {
    const node = +(element.dataset.node ?? element.dataset.to);
    element.classList.toggle("done", node < plan.longest || done.has(node));
  }
  for (const edge of edges) edge.classList.toggle("now-edge", frame.left.includes(+edge.dataset.to));
  for (const shape of shapes) {
    shape.classList.toggle("now-node", frame.left.includes(+shape.dataset.node));
    shape.classList.toggle("operand", touched.includes(+shape.dataset.node));
  }
}
