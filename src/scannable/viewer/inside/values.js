// What follows from a trace: its levels, what lies under each node, its measures; and how values are written.

let shown = null;

/** Add to a trace what its drawing needs; a node learns its number, and the loss and the right answers below it. */
function prepare(trace) {
  const { tokens, chunk, leaves, names } = trace;
  const losses = averages(tokens.map(({ loss }) => loss));
  const answers = averages(tokens.map(({ correct }) => correct));
  const below = (first, last) => ({
    loss: losses(first * chunk, (last + 1) * chunk),
    answers: answers(first * chunk, (last + 1) * chunk),
  });
  const nodes = trace.nodes.map((node, number) => ({ ...node, number, ...below(node.first, node.last) }));
  const chunks = trace.chunks.map(({ prefix, next }, number) => ({
    ...{ number, node: nodes[prefix] ?? null, next },
    ...below(number, number),
  }));
  const levels = []; // at k the perfect trees of 2^k leaves, by place
  const parents = new Map();
  for (const node of nodes) {
    const size = node.last - node.first + 1;
    if (size !== 2 ** node.level || node.first % size) continue;
    (levels[node.level] ??= [])[node.first / size] = node;
    for (const child of [node.left, node.right]) parents.set(child, node.number);
  }
  const named = new Map(names.map(({ id, text }) => [id, text]));
  const calls = new Set(nodes.slice(leaves).map(({ call }) => call)).size;
  const worst = tokens.reduce((most, { loss }) => Math.max(most, loss ?? 0), 1e-9);
  const ends = Object.fromEntries(measures.map(({ key, of }) => [key, extent(nodes.map(of), key)]));
  const all = below(0, leaves);
  shown = { ...trace, ...all, columns: leaves + 1, nodes, chunks, levels, parents, named, calls, worst, ends };
}

/** Return a function that tells the mean of the values between two places; null where there is none. */
function averages(values) {
  const [sums, counts] = [[0], [0]];
  for (const value of values) {
    sums.push(sums.at(-1) + (value ?? 0));
    counts.push(counts.at(-1) + (value !== null));
  }
  return (start, stop) => {
    const end = Math.min(stop, values.length);
    const count = counts[end] - counts[start];
    return count ? (sums[end] - sums[start]) / count : null;
  };
}
const mean = (values) => averages(values)(0, values.length);

// ---- How values are written

const digits = (value) =>
  value === null ? "–" : value && Math.abs(value) < 0.001 ? value.toExponential(1) : `${+value.toPrecision(4)}`;
const percent = (value) =>
  value === null ? "–" : value && value < 1e-4 ? "< 0.01 %" : `${+(100 * value).toPrecision(3)} %`;
const verdict = (correct) => (correct === null ? "–" : correct ? "right" : "wrong");
const chunksOf = ({ first, last }) => spanned("chunk", first, last);

function cut(text, most) {
  const letters = [...text.slice(0, 2 * most + 1)];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
}

/** Show white space and control characters. */
function visible(text) {
  const signs = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };
  const hidden = (letter) => `\\x${letter.codePointAt(0).toString(16).padStart(2, "0")}`;
  return text.replace(/[\p{C}\p{Z}]/gu, (letter) => signs[letter] ?? hidden(letter));
}

function nameOf(id) {
  const text = cut(id === null ? "" : (shown.named.get(id) ?? `${id}`), 120);
  return shown.kind === "text" ? cut(visible(text), 24) : text;
}

/** What a node says: its group element, or the likeliest token of its lens. */
const labelOf = ({ element, lens }) => (element !== null ? nameOf(element) : lens.length ? nameOf(lens[0].id) : "");

// ---- Measures: what a node's colour and size may tell; null where a node has none

const attention = (node) => node.attention ?? { left: null, right: null };

const measures = [
  { key: "size", name: "size of the state (root mean square)", short: "size", of: (node) => node.size },
  { key: "from_left", name: "change from the left child", short: "from left", of: (node) => node.from_left },
  { key: "from_right", name: "change from the right child", short: "from right", of: (node) => node.from_right },
  { key: "attention", name: "attention to the left child", short: "left share", of: (node) => attention(node).left },
  { key: "element", name: "decoded element, right or wrong", short: "right?", of: (node) => node.correct },
  { key: "loss", name: "mean loss of the tokens below (nats)", short: "loss below", of: (node) => node.loss },
  { key: "correct", name: "share of right answers below", short: "right below", of: (node) => node.answers },
];
const writers = { attention: percent, element: verdict, correct: percent }; // of shares, whose scale is from 0 to 1
const writeValue = (value, key = state.measure) => (writers[key] ?? digits)(value);
const measured = (node) => measures.find(({ key }) => key === state.measure).of(node);

/** The ends of a measure's scale over some values; null where there are none. */
function extent(values, key) {
  const some = values.filter((value) => value !== null);
  if (!some.length) return null;
  return key in writers ? [0, 1] : [Math.min(...some), Math.max(...some)];
}

/** Where a value lies between the ends of its scale, from 0 to 1. */
function strength(value) {
  const [low, high] = shown.ends[state.measure];
  return high > low ? (value - low) / (high - low) : 0.5;
}
