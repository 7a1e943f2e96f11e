// The plan comes from the library: which nodes are merged, in which order, by each form. This script applies the chosen
// operator to leaves and shows the steps.
const { plan, operators } = JSON.parse($("data").textContent);
const FEW = 8; // how many leaves are shown if nobody asks for another number

// ---- Nodes of the plan: the leaves come first, then the merges

const operands = (node) => (node < plan.longest ? [] : plan.nodes[node - plan.longest]);
const span = (node) => (node < plan.longest ? [node, node + 1] : plan.spans[node - plan.longest]);
const made = ({ carries, fold }) => (fold === null ? carries : [...carries, fold]);
const trees = new Set(plan.pushes.flatMap(({ carries }) => carries));
const kind = (node) => (node < plan.longest ? "leaf" : trees.has(node) ? "up" : "down");

const ends = (node) => [span(node)[0], span(node)[1] - 1];
const short = (node) => [...new Set(ends(node))].join("-");
const named = (node) => spanned("chunk", ...ends(node), " to ");
const paired = (node) => operands(node).map(named).join(" with ");

// ---- Operators: reading a leaf (null where it cannot be read), merging two states, writing a state

const integer = (word) => (/^[+-]?\d{1,30}$/.test(word) ? BigInt(word.replace("+", "")) : null);

function readMap(word) {
  const [, slope, shift] = /^([+-]?\d{0,30})x([+-]\d{1,30})?$/.exec(word) ?? [];
  if (slope === undefined) return null;
  return [integer(/\d/.test(slope) ? slope : `${slope}1`), integer(shift ?? "0")];
}
const writeMap = ([slope, shift]) =>
  `${slope}x${shift < 0n ? "" : "+"}${shift}`.replace(/^(-?)1x/, "$1x").replace(/\+0$/, "");

const arithmetic = {
  text: {
    read: (word) => ([...word].length <= 40 && !/[()]/.test(word) ? word : null),
    merge: (left, right) => `(${left}${right})`,
  },
  sum: { read: integer, merge: (left, right) => left + right },
  skew: { read: integer, merge: (left, right) => 2n * left + 3n * right },
  affine: {
    read: readMap,
    merge: ([slope, shift], [times, plus]) => [times * slope, times * shift + plus],
    write: writeMap,
  },
  cards: {
    read: (word) => (/^[1-5]{5}$/.test(word) && new Set(word).size === 5 ? word : null),
    merge: (left, right) => [...right].map((place) => left[place - 1]).join(""),
  },
};
const choice = (key) => operators.find((operator) => operator.key === key);

/** Split what was typed into leaves; a sentence where that cannot be done. */
function readLeaves(typed, key) {
  const words = typed.trim().split(/\s+/).filter(Boolean);
  if (words.length < 1 || words.length > plan.longest)
    return `There must be 1 to ${plan.longest} leaves, got ${words.length}; put spaces between them.`;
  const wrong = words.find((word) => arithmetic[key].read(word) === null);
  if (wrong === undefined) return words;
  return `${choice(key).typed.replace(/\.$/, "")}; got "${[...wrong].slice(0, 60).join("")}".`;
}

/** Make the nodes in an order, each from its own operands: what each is, and how it is bracketed. */
function run(order, words, key) {
  const { read, merge, write = String } = arithmetic[key];
  const states = words.map((word, place) => ({ value: read(word), text: write(read(word)), brackets: `${place}` }));
  for (const node of order) {
    const [left, right] = operands(node).map((operand) => states[operand]);
    const value = merge(left.value, right.value);
    states[node] = { value, text: write(value), brackets: `(${left.brackets} ${right.brackets})` };
  }
  return states;
}

// ---- Time. Three ways to step through one set of merges; both panels are there in each of them:
//   both: each form at its own pace, a batched call against a chunk, so that one sees which is done first;
//   parallel: call by call, streaming: merge by merge; then one order is shown at the merges' places in both panels.
// A frame says how many calls and chunks are over, how many merges of the next chunk are (part), which chunk arrives,
// and which merges light up on the left and on the right.

const forms = ["both", "parallel", "streaming"];

function timeline(form, length) {
  const { calls } = plan.parallel[length - 1];
  const chunks = form === "parallel" ? [] : plan.pushes.slice(0, length).map(made);
  const frames = [{ calls: 0, chunks: 0, part: null, left: [], right: [] }];
  const add = (frame) => frames.push({ ...frames[0], ...frame });
  if (form === "streaming") {
    chunks.forEach((merges, chunk) => {
      add({ chunks: chunk, part: 0, chunk });
      merges.forEach((merge, place) => add({ chunks: chunk, part: place + 1, chunk, left: [merge], right: [merge] }));
      Object.assign(frames.at(-1), { chunks: chunk + 1, part: null });
    });
    frames.at(-1).calls = calls.length;
  } else
    for (const step of range(0, Math.max(calls.length, chunks.length))) {
      const left = calls[step] ?? [];
      const over = { calls: Math.min(step + 1, calls.length), chunks: Math.min(step + 1, chunks.length) };
      add({ ...over, left, right: form === "both" ? (chunks[step] ?? []) : left });
    }
  return frames;
}
