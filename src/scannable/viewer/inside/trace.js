// What is in view and chosen, moving over the tree, the address, and the controls.

const state = { measure: "size", from: 0, to: 1, node: null, chunk: null };

/** Show another trace, from its whole tree. */
function show(trace) {
  prepare(trace);
  const { nodes, levels, columns, ends } = shown;
  const offered = measures.filter(({ key }) => ends[key]);
  const options = offered.map(({ key, name }) => html("option", { value: key }, name));
  $("measure").replaceChildren(...(options.length ? options : [html("option", "no state to colour")]));
  Object.assign(state, { measure: ends.element ? "element" : "size", from: 0, to: columns });
  if (offered.length) $("measure").value = state.measure;
  $("measure").disabled = !offered.length;
  drawSummary();
  draw();
  if (nodes.length) choose((levels.at(-1)?.[0] ?? nodes.at(-1)).number);
  else chooseChunk(0);
  Object.keys(tables).forEach((id) => tabulate(id));
}

// ---- Choosing: what is chosen stays, what the pointer is over is told meanwhile

function choose(node, chunk = null) {
  Object.assign(state, { node, chunk });
  mark();
  explain(node, chunk);
  drawTokens();
  remember();
}
const nodeOf = (chunk) => shown.chunks[chunk].node?.number ?? null;
const chooseChunk = (chunk) => choose(nodeOf(chunk), chunk);

function mark() {
  const { node, chunk } = state;
  for (const { dataset, classList } of $("map").querySelectorAll(".node"))
    classList.toggle("chosen", chunk === null ? dataset.node === `${node}` : dataset.chunk === `${chunk}`);
  for (const { dataset, classList } of $("map").querySelectorAll(".edge"))
    classList.toggle("lit", dataset.edge === `${node}`);
}

/** The chunks that are chosen. */
function chosenSpan() {
  const { node, chunk } = state;
  return chunk === null ? shown.nodes[node] : { first: chunk, last: chunk };
}

// ---- Moving: over the tree by arrows, and through the columns

/** Go where an arrow leads; it comes into view, and is said. */
function walk(key) {
  const { chunk } = state;
  const step = { ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0;
  if (chunk === null) {
    const { number, first, last, level, left } = shown.nodes[state.node];
    const beside = shown.levels[level]?.[first / (last - first + 1) + step]?.number;
    if (key === "ArrowDown" && left === null) chooseChunk(first);
    else choose({ ArrowUp: shown.parents.get(number), ArrowDown: left }[key] ?? (step ? beside : null) ?? number);
  } else if (step && shown.chunks[chunk + step]) chooseChunk(chunk + step);
  else if (key === "ArrowUp" && chunk < shown.leaves) choose(chunk);
  const { first, last } = chosenSpan();
  const width = state.to - state.from;
  if (last < state.from || first >= state.to) look((first + last + 1 - width) / 2, width);
  $("spoken").textContent = $("values").innerText.replace(/\s+/g, " ").slice(0, 400);
}

/** Bring columns into view. */
function look(from, width) {
  const columns = Math.max(1, Math.min(shown.columns, Math.round(width)));
  state.from = Math.max(0, Math.min(shown.columns - columns, Math.round(from)));
  state.to = state.from + columns;
  draw();
}

/** Show less or more around what is chosen. */
function zoom(factor) {
  const width = (state.to - state.from) * factor;
  const { first, last } = chosenSpan();
  const middle = Math.max(state.from, Math.min(state.to - 1, (first + last) / 2)) + 0.5;
  look(middle - width / 2, width);
}

function slide(way) {
  const width = state.to - state.from;
  look(state.from + way * Math.max(1, Math.round(width / 2)), width);
}

const moves = {
  whole: () => look(0, shown.columns),
  in: () => zoom(0.5),
  out: () => zoom(2),
  earlier: () => slide(-1),
  later: () => slide(1),
  closer: () => look(chosenSpan().first, chosenSpan().last - chosenSpan().first + 1),
};

// ---- The address

function remember() {
  const { measure, from, to, node, chunk } = state;
  writeAddress({ measure, from, to, ...(chunk === null ? { node } : { chunk }) });
}

/** Follow an address as far as it makes sense for this trace. */
function restore(hash) {
  const { measure, from, to, node, chunk } = Object.fromEntries(new URLSearchParams(hash.slice(1)));
  if (measures.some(({ key }) => key === measure && shown.ends[key])) $("measure").value = state.measure = measure;
  const stop = readWhole(to, 1, shown.columns);
  if (readWhole(from, 0, stop - 1) !== null) Object.assign(state, { from: +from, to: stop });
  draw();
  if (readWhole(chunk, 0, shown.leaves) !== null) chooseChunk(+chunk);
  else if (readWhole(node, 0, shown.nodes.length - 1) !== null) choose(+node);
}

// ---- Controls

$("file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  const sizes = `A trace may have ${grouped(limits.bytes)} bytes, got ${grouped(file.size)}; trace a shorter input.`;
  if (file.size > limits.bytes) return tell("notice", sizes);
  const text = await file.text().catch(() => null);
  const found = text === null ? `A trace must be a file that can be read, got an error; ${cure}` : readTrace(text);
  tell("notice", typeof found === "string" ? found : "");
  if (typeof found !== "string") show(found);
});
$("measure").addEventListener("change", ({ target }) => {
  state.measure = target.value;
  draw();
});
for (const [id, act] of Object.entries({ ...moves, ...saves })) $(id).addEventListener("click", act);
for (const id of Object.keys(tables)) $(id).closest("details").addEventListener("toggle", () => tabulate(id));

const map = $("map");
const touched = ({ target }) => target.closest(".node")?.dataset ?? {};
map.addEventListener("pointerover", (event) => {
  const { node, chunk } = touched(event);
  if (node !== undefined) explain(+node, null);
  else if (chunk !== undefined) explain(nodeOf(+chunk), +chunk);
  else explain(state.node, state.chunk);
});
map.addEventListener("pointerleave", () => explain(state.node, state.chunk));
map.addEventListener("click", (event) => {
  const { node, chunk, first, last } = touched(event);
  const width = Math.max(8, (state.to - state.from) / 4);
  if (node !== undefined) choose(+node);
  else if (chunk !== undefined) chooseChunk(+chunk);
  else if (first !== undefined) look((+first + +last + 1 - width) / 2, width);
});
map.addEventListener("dblclick", moves.closer);
const arrows = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"].map((key) => [key, () => walk(key)]);
const zooms = { "+": moves.in, "=": moves.in, "-": moves.out, 0: moves.whole, Enter: moves.closer };
onKeys(map, { ...Object.fromEntries(arrows), ...zooms });

show(given);
if (location.hash.length > 1) restore(location.hash);
onAddress(restore);
onResize(map, draw);
for (const query of ["(prefers-color-scheme: dark)", "print"])
  matchMedia(query).addEventListener("change", () => {
    draw();
    drawTokens();
  });
