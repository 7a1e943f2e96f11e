// The figures of each form, its merges, its depth and its roots, beside what their formulas say.

const ones = (count) => binary(count).replaceAll("0", "").length;
const says = (formula) => `the formula says ${formula.replaceAll(" ", "\u00a0")}`; // on one line
const ofMerges = (count, result) => says(`2·${count} − ${ones(count)} − ${binary(count).length} = ${result}`);
const rootsOf = (push) => push.roots.filter((root) => root !== null);
const tile = (figure, words, holds) => [figure, words, holds ? "good" : "bad"];

function countsInParallel({ frame, parallel, length }) {
  const { calls, merges, depth, up } = parallel;
  const [upward, downward] = depth;
  const deepest = upward + downward;
  const end = plan.pushes[length - 1];
  const roots = rootsOf(end);
  const among = (nodes) => roots.filter((root) => root < plan.longest || nodes.has(root)).length;
  const done = doneOn("left");
  const all = new Set(calls.flat());
  const ways = `batched calls, the depth in parallel; ${says(`${upward} up + ${downward} down = ${deepest}`)}`;
  const ends = `roots made in parallel: the ones in ${binary(length)}`;
  return [
    tile(`${done.size} of ${merges}`, `merges in parallel; ${ofMerges(length, merges)}`, all.size === merges),
    tile(`${frame.calls} of ${calls.length}`, ways, up === upward && calls.length === deepest),
    tile(`${among(done)} of ${roots.length}`, ends, among(all) === end.kept),
  ];
}

const height = (node) => (operands(node).length ? 1 + Math.max(...operands(node).map(height)) : 0);

function countsInStream({ frame, parallel }) {
  const { chunks, part } = frame;
  const none = { merges: 0, kept: 0, depth: 0, roots: [], prefix: 0 };
  const push = chunks ? plan.pushes[chunks - 1] : none;
  const count = doneOn("right").size;
  const kept = rootsOf(push).length;
  const depth = height(push.prefix);
  const after = (formula) => (chunks ? formula : "no chunk has come yet");
  const more = part ? `, and ${part} of the next` : "";
  const amount = after(`for ${counted(chunks, "chunk")} ${ofMerges(chunks, push.merges)}${more}`);
  const high = after(says(`${binary(chunks).length} + ${ones(chunks)} − 2 = ${push.depth}`));
  return [
    tile(`${count} of ${parallel.merges}`, `merges in the stream; ${amount}`, count === push.merges + part),
    tile(`${depth}`, `merges one above another in the prefix, its depth; ${high}`, depth === push.depth),
    tile(`${kept}`, `roots kept in the stream: the ones in ${binary(chunks)}`, kept === push.kept),
  ];
}

function drawCounts() {
  const { form, length, frame } = view;
  const tiles = [
    ...(form === "streaming" ? [] : countsInParallel(view)),
    ...(form === "parallel" ? [] : countsInStream(view)),
  ];
  if (state.refold) {
    const pushes = plan.pushes.slice(0, form === "parallel" ? length : frame.chunks);
    const needed = pushes.flatMap(made).length;
    const again = pushes.reduce((sum, { refolds, fold }) => sum + refolds.length - (fold !== null), 0);
    const words = `merges more if all roots are folded again after each chunk: ${needed + again} in place of ${needed}`;
    tiles.push(tile(`+${again}`, words, true));
  }
  drawTiles("counts", tiles);
}
