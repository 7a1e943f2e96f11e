// What is chosen, in words and tables: its values, the tokens under it, and everything for those who would rather read.

/** Tell the values of a node, or of a chunk, and apart from them those of the state that it was read with. */
function explain(number, chunk) {
  const node = shown.nodes[number] ?? null;
  const isLeaf = chunk === null && node.left === null;
  const parts =
    chunk === null
      ? [html("h2", `Node ${number}: ${chunksOf(node)}`), ...stateParts(node)]
      : [html("h2", `Chunk ${chunk}`), ...chunkParts(chunk)];
  const other = (title, ...inner) => parts.push(html("section.other", html("h3", title), ...inner));
  if (isLeaf) other(`Chunk ${node.first} itself`, ...chunkParts(node.first));
  if (chunk !== null && node) other(`The state before it: node ${number}`, ...stateParts(node));
  $("values").replaceChildren(...parts);
}

const listed = (rows) =>
  html("dl", ...rows.map(([what, ...values]) => html("div", html("dt", what), html("dd", ...values))));

/** How a chunk's tokens were read, and what was predicted at its end. */
function chunkParts(number) {
  const { tokens, chunk, chunks, kind } = shown;
  const { node, next, loss, answers } = chunks[number];
  const rows = [
    ["reads", spanned("token", number * chunk, Math.min(tokens.length, (number + 1) * chunk) - 1)],
    ["read with", node ? `the state of ${chunksOf(node)}, node ${node.number}` : "no state: nothing was before"],
    loss !== null && ["loss", `${digits(loss)} nats a token`],
    answers !== null && ["answers", `${percent(answers)} right`],
  ];
  const what = kind === "words" ? "answers" : "next tokens";
  return [listed(rows.filter(Boolean)), html("h3", `Likeliest ${what} after chunk ${number}`), ...guesses(next, number)];
}

/** What is in a state, and what it alone predicts. */
function stateParts(node) {
  const parts = [listed(describe(node))];
  if (node.lens.length) {
    parts.push(html("h3", "Lens: what this state alone predicts, by the head on its last slot"));
    parts.push(...guesses(node.lens, node.last));
  } else if (shown.kind !== "words")
    parts.push(html("p.soft", "No lens: it needs a state of one tensor, and TransformerInference to read it."));
  return parts;
}

function describe(node) {
  const { nodes, chunk, calls, kind } = shown;
  const { first, element, correct, attention, code, loss, answers } = node;
  const [left, right] = [nodes[node.left], nodes[node.right]];
  const layers = node.layers.map((layer) => percent(layer.left)).join(", ");
  const verdict = correct ? html("b.good", "right") : html("b.bad", `wrong, the product is ${nameOf(node.product)}`);
  const call = node.call === null ? "" : `, in call ${node.call + 1} of ${calls}`;
  return [
    left
      ? ["merged", `${chunksOf(left)} with ${chunksOf(right)}${call}`]
      : ["leaf", spanned("token", first * chunk, (first + 1) * chunk - 1)],
    element !== null && ["decodes to", `${nameOf(element)}, `, verdict],
    ["size", digits(node.size)],
    left && ["change", `${digits(node.from_left)} from the left, ${digits(node.from_right)} from the right child`],
    left && attention && ["attention", `${percent(attention.left)} left, ${percent(attention.right)} right`],
    left && node.layers.length > 1 && ["by layer", `${cut(layers, 400)} left`],
    left && code !== null && ["code", kind === "words" ? `${code}: ${nameOf(code)}` : `${code}`],
    loss !== null && ["loss below", `${digits(loss)} nats a token`],
    answers !== null && ["answers below", `${percent(answers)} right`],
  ].filter(Boolean);
}

/** What was predicted at the end of a chunk, and what was right there, if that is known. */
function guesses(list, number) {
  const { tokens, chunk, kind } = shown;
  const { target } = tokens[Math.min(tokens.length, (number + 1) * chunk) - 1];
  const some = list.slice(0, 10);
  const rows = some.map(({ id, p }) => {
    const bar = html("i.bar");
    bar.style.width = `${100 * Math.max(0, Math.min(1, p ?? 0))}%`;
    const name = html("span.state", nameOf(id));
    return html(id === target ? "li.hit" : "li", name, html("span", percent(p)), bar);
  });
  const place = some.findIndex(({ id }) => id === target);
  const missed = `missed, ${place < 0 ? "not among these" : `number ${place + 1} of these`}`;
  const truth = { words: "Right answer", text: "True next token", ids: "Target" }[kind];
  const verdict = place ? html("b.bad", missed) : html("b.good", "predicted");
  const line = target !== null && html("p.truth", `${truth}: `, html("span.state", nameOf(target)), ", ", verdict);
  return [html("ol.guesses", ...rows), line].filter(Boolean);
}

// ---- Tokens under what is chosen, each on a ground that tells its loss

const MOST = 1024;

function drawTokens() {
  const { first, last } = chosenSpan();
  const { tokens, chunk, kind, worst } = shown;
  const [start, stop] = [first * chunk, Math.min(tokens.length, (last + 1) * chunk)];
  const drawn = range(start, Math.min(stop, start + MOST)).map((place) => {
    const { id, loss, correct, predicted, target } = tokens[place];
    const right = target === null ? "" : `, right is ${nameOf(target)}`;
    const title = `token ${place}: loss ${digits(loss)}; answer ${nameOf(predicted)}${right}`;
    const wrong = correct === false && kind === "words";
    const chip = html(wrong ? "span.token.wrong" : "span.token", { title }, nameOf(id));
    if (loss !== null) chip.style.backgroundColor = css(mix(palette.card, palette.tone1, (0.5 * loss) / worst));
    return chip;
  });
  const more = stop - start > MOST ? `, the first ${grouped(MOST)} of them` : "";
  $("tokens-title").textContent = `${spanned("Token", start, stop - 1)}${more}`;
  $("tokens").replaceChildren(...drawn);
}

// ---- Figures and tables

function drawSummary() {
  const { kind, tokens, leaves, nodes, chunk, model, title, calls, loss, answers } = shown;
  const things = { words: "group elements", text: "tokens of text", ids: "tokens" }[kind];
  $("headline").textContent = `What ${cut(model.name, 120)} made of ${grouped(tokens.length)} ${things}`;
  $("origin").textContent = title ? `scannable · ${cut(title, 120)}` : "scannable";
  const right = mean(nodes.map(({ correct }) => correct));
  const codebook = model.codebook ? " with a codebook" : "";
  const aggregator = cut(model.aggregator, 120).replace(/(?<=[a-z])(?=[A-Z])/g, "\u200b"); // may be broken there
  const merges = `merges by ${aggregator}${codebook}, in ${counted(calls, "batched call")}`;
  const tiles = [
    [grouped(leaves), `leaves: ${leaves === 1 ? "a chunk" : "chunks"} of ${counted(chunk, "token")}`],
    [grouped(nodes.length - leaves), merges],
    right !== null && [percent(right), "of the nodes decode to the true product", right === 1 ? "good" : ""],
    loss !== null && [digits(loss), "nats a token, the mean loss"],
    answers !== null && [percent(answers), "of the answers are right"],
  ];
  drawTiles("counts", tiles.filter(Boolean));
  const more = `give more than ${counted(chunk, "token")} to see a tree`;
  tell("alone", leaves ? "" : `All tokens are in one chunk, which is read with no state before it, and no state is made; ${more}.`);
}

const ROWS = 100;
const tables = {
  "nodes-table": {
    rows: () => shown.nodes,
    head: ["node", "chunks", "left", "right", ...measures.map(({ short }) => short), "says"],
    cells: (node) => {
      const values = measures.map(({ key, of }) => writeValue(of(node), key));
      return [node.number, `${node.first}-${node.last}`, node.left ?? "", node.right ?? "", ...values, labelOf(node)];
    },
  },
  "tokens-table": {
    rows: () => shown.tokens,
    head: ["place", "chunk", "token", "loss", "answer", "right is", "right?"],
    cells: ({ id, loss, predicted, target, correct }, place) => {
      const chunk = Math.floor(place / shown.chunk);
      return [place, chunk, nameOf(id), digits(loss), nameOf(predicted), nameOf(target), verdict(correct)];
    },
  },
};

/** Draw a hundred rows of a table, if it is open. */
function tabulate(id, start = 0) {
  const details = $(id).closest("details");
  if (!details.open) return $(id).replaceChildren();
  const { rows, head, cells } = tables[id];
  const all = rows();
  const stop = Math.min(all.length, start + ROWS);
  const turn = (words, to) => {
    const button = html("button", { type: "button" }, words);
    button.disabled = to < 0 || to >= all.length;
    button.addEventListener("click", () => tabulate(id, to));
    return button;
  };
  const where = ` ${all.length ? start + 1 : 0}-${stop} of ${all.length} `;
  const body = range(start, stop).map((row) => cells(all[row], row).map((text) => html("td", `${text}`)));
  const region = { tabindex: "0", role: "region", "aria-label": details.firstChild.textContent };
  const turns = html("p", turn("◀ earlier", start - ROWS), where, turn("later ▶", start + ROWS));
  return $(id).replaceChildren(turns, html("div.scroll", region, table(head, body)));
}
