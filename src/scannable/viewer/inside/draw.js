// The drawing: a row for each level; circles where nodes have room, else cells, of several nodes if need be.

const ROOMY = 16; // from so many pixels a node on, a row has circles
const CELL = 3; // the least width of a cell
const GUTTER = 46;
let wide = 0; // pixels for each column

/** Where a column begins, in pixels; columns out of view are at the ends. */
const edgeOf = (column) => GUTTER + (Math.max(state.from, Math.min(state.to, column)) - state.from) * wide;

function draw() {
  readPalette();
  const { levels, chunks, columns, nodes } = shown;
  const { from, to } = state;
  const room = Math.max(260, $("map").clientWidth);
  wide = (room - GUTTER - 6) / (to - from);
  const places = new Map(); // of circles, so that edges find them
  const marks = [];
  let y = nodes.length ? 58 : 14; // below the legend
  const sign = (words, at) => marks.push(svg("text.tick", { x: GUTTER - 8, y: at + 4 }, words));
  if (nodes.length) sign("chunks", y - 6);
  for (const [level, row] of [...levels.entries()].reverse()) {
    const size = 2 ** level;
    const inView = row.filter(({ first, last }) => last >= from && first < to);
    if (!inView.length) continue;
    if (size * wide >= ROOMY) {
      const most = Math.min(15, (size * wide) / 2 - 1);
      y += most + 4;
      for (const node of inView) {
        const [left, right] = [edgeOf(node.first), edgeOf(node.last + 1)];
        places.set(node.number, { x: (left + right) / 2, y });
        marks.push(circle(node, (left + right) / 2, y, right - left, most));
      }
      sign(grouped(size), y);
      y += most + (level ? 26 : 20);
    } else {
      const entry = (node) => ({ node, first: node.first, last: node.last, key: { "data-node": node.number } });
      marks.push(...cells(inView.map(entry), size * wide, y, 16));
      sign(grouped(size), y + 8);
      y += 20;
    }
  }
  const read = ({ node, number }) => ({ node, first: number, last: number, key: { "data-chunk": number } });
  marks.push(...cells(chunks.slice(from, to).map(read), wide, y + 8, 18));
  sign("prefix", y + 17);
  y += 34;
  if (shown.tokens.some(({ loss }) => loss !== null)) {
    marks.push(...bars(y));
    sign("loss", y + 22);
    y += 50;
  }
  const words = wordsBelow(y + 12);
  const edges = [...places.keys()].flatMap((number) => edgesTo(nodes[number], places));
  const height = y + (words.length ? 26 : 8);
  const size = { width: room, height, viewBox: `0 0 ${room} ${height}`, "aria-hidden": "true" };
  $("map").replaceChildren(svg("svg.run", size, svg("g", ...edges), svg("g", ...marks), ...words, ...legend(room)));
  const part = `${spanned("chunk", from, to - 1)} of ${columns}`;
  const all = columns === 1 ? "the one chunk" : `all ${columns} chunks`;
  $("in-view").textContent = to - from < columns ? part : all;
  mark();
  remember();
}

const tip = (words) => svg("title", words);

/** Shorten a text to a width in pixels; nothing if too little would be left, or another group element. */
function fitted(text, room) {
  const count = Math.floor(room / 6.7);
  const letters = [...text];
  if (letters.length <= count) return text;
  const enough = shown.kind !== "words" && count >= 5 && 1.5 * count >= letters.length;
  return enough ? `${letters.slice(0, count - 1).join("")}…` : "";
}

function circle(node, x, y, room, most) {
  const verdict = state.measure === "element";
  const value = measured(node);
  const tone = colourOf(value);
  const r = most * (value === null || verdict ? 0.8 : 0.55 + 0.45 * strength(value));
  const style = tone
    ? { fill: css(tone), stroke: css(mix(tone, palette.ink, 0.35)) }
    : { fill: css(palette.card), stroke: css(palette.soft), "stroke-dasharray": "2 3" };
  const wrong = verdict && value === false;
  const diamond = { d: `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}Z`, ...style };
  const text = fitted(labelOf(node), room - 10);
  const hit = { x: x - room / 2, y: y - most - 2, width: room, height: 2 * most + 18 }; // easier to hit than a dot
  return svg(
    "g.node",
    { "data-node": node.number },
    tip(`${chunksOf(node)}: ${writeValue(value)}`),
    wrong ? svg("path.shape", diamond) : svg("circle.shape", { cx: x, cy: y, r, ...style }),
    wrong && r > 6 && svg("text.bold", { x, y: y + 4, fill: css(inkOn(tone)) }, "×"),
    svg("rect", { ...hit, fill: "none", "pointer-events": "all" }),
    text !== "" && svg("text.label.halo", { x, y: y + most + 13 }, text),
  );
}

/** The lines from a node's children to it, as wide as the attention that was paid to each. */
function edgesTo(node, places) {
  const at = places.get(node.number);
  return ["left", "right"].flatMap((side) => {
    const from = places.get(node[side]);
    if (!from) return [];
    const share = attention(node)[side];
    const d = `M${from.x} ${from.y}V${(from.y + at.y) / 2}L${at.x} ${at.y}`;
    const line = { d, "data-edge": node.number, "stroke-width": share === null ? 1.5 : 0.8 + 5 * share };
    return [svg("path.edge", line, share !== null && tip(`attention to the ${side} child: ${percent(share)}`))];
  });
}

const pieces = (list, size) =>
  range(0, Math.ceil(list.length / size)).map((place) => list.slice(place * size, (place + 1) * size));

/** Draw nodes as cells over their leaves; where they are too narrow, one cell tells the mean of several. */
function cells(entries, room, y, height) {
  return pieces(entries, Math.ceil(CELL / room)).map((some) => {
    const several = some.length > 1;
    const values = some.filter(({ node }) => node).map(({ node }) => measured(node));
    const value = values.includes(false) ? false : mean(values); // one that is wrong is not to be overlooked
    const [first, last] = [some[0].first, some.at(-1).last];
    const x = edgeOf(first);
    const width = Math.max(0.5, edgeOf(last + 1) - x - (room > 6 ? 1 : 0));
    const tone = colourOf(value) ?? palette.line;
    const wrong = state.measure === "element" && value === false; // told by a cross too, not by its colour alone
    const lines = `M${x} ${y}l${width} ${height}m0 ${-height}l${-width} ${height}`;
    const cross = { d: lines, stroke: css(inkOn(tone)), "stroke-opacity": 0.6 };
    const text = several || !some[0].node ? "" : fitted(labelOf(some[0].node), width - 4);
    return svg(
      "g.node",
      several ? { "data-first": first, "data-last": last } : some[0].key,
      tip(`${spanned("chunk", first, last)}: ${several ? `mean of ${some.length}, ` : ""}${writeValue(value)}`),
      svg("rect.shape", { x, y, width, height, rx: Math.min(4, width / 4), fill: css(tone) }),
      wrong && svg("path.cross", cross),
      text !== "" && svg("text.label", { x: x + width / 2, y: y + height / 2 + 4, fill: css(inkOn(tone)) }, text),
    );
  });
}

const tokensInView = () => range(state.from * shown.chunk, Math.min(shown.tokens.length, state.to * shown.chunk));

/** The loss of each token in view, as an upright bar. */
function bars(y) {
  const { tokens, chunk, kind, worst } = shown;
  const each = wide / chunk;
  return pieces(tokensInView(), Math.ceil(2 / each)).flatMap((some) => {
    const value = mean(some.map((place) => tokens[place].loss));
    if (value === null) return [];
    const wrong = kind === "words" && some.some((place) => tokens[place].correct === false);
    const height = Math.max(1, (44 * value) / worst);
    const width = Math.max(0.6, some.length * each - (each > 4 ? 1 : 0));
    const box = { x: edgeOf(some[0] / chunk), y: y + 44 - height, width, height };
    const look = wrong ? { fill: css(palette.bad), stroke: css(palette.ink) } : { fill: css(palette.tone0) };
    const bar = svg("rect.shape", { ...box, ...look });
    const words = tip(`${spanned("token", some[0], some.at(-1))}: ${digits(value)} nats`);
    return [svg("g.node.bar", { "data-chunk": Math.floor(some[0] / chunk) }, words, bar)];
  });
}

/** What the tokens in view are, where there is room for most of them. */
function wordsBelow(y) {
  const each = wide / shown.chunk;
  if (each < 7) return [];
  const places = tokensInView();
  const drawn = places.flatMap((place) => {
    const text = fitted(nameOf(shown.tokens[place].id), each - 1);
    return text ? [svg("text.label", { x: edgeOf((place + 0.5) / shown.chunk), y }, text)] : [];
  });
  return 2 * drawn.length >= places.length ? drawn : [];
}

/** Which colour stands for what. */
function legend(room) {
  const ends = shown.ends[state.measure];
  if (!ends) return [];
  const [low, high] = ends;
  const bar = Math.min(120, room / 3);
  const values = state.measure === "element" ? ends : range(0, 24).map((place) => low + ((high - low) * place) / 23);
  const width = bar / values.length;
  const steps = values.map((value, place) =>
    svg("rect", { x: 50 + place * width, y: 22, width: width + 0.3, height: 10, fill: css(colourOf(value)) }),
  );
  const name = measures.find(({ key }) => key === state.measure).name;
  const label = (kind, x, y, words) => svg(`text.${kind}`, { x, y }, words);
  const [left, right] = [label("tick", 46, 31, writeValue(low)), label("tick.title", 54 + bar, 31, writeValue(high))];
  return [label("title", 6, 16, name), left, ...steps, right];
}
