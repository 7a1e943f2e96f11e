// What a step means in equations, figures, a table and words.

/** A state as the chosen operator writes it. */
function written({ text }) {
  if (state.operator !== "cards") return html("span.state", text);
  return html("span.state", ...[...text].map((name) => html(`span.swatch.card${name}`, name)));
}

function drawEquations() {
  const { frame } = view;
  const draw = (id, nodes, states) => {
    const lines = nodes.map((node) => {
      const [left, right, both] = [...operands(node), node].map((one) => written(states[one]));
      return html("p.merge", left, " · ", right, " = ", html("b", both));
    });
    $(id).replaceChildren(...(lines.length ? lines : [html("p.soft", "No merge at this step.")]));
    $(id).scrollTop = 0;
  };
  draw("tree-now", frame.left, view.states);
  draw("counter-now", frame.right, view.streamed);
  $("counter-now").hidden = view.form === "parallel";
}

function drawPrefixes() {
  const { frame, form, parallel, length, states, streamed, plain, last } = view;
  const done = doneOn("left");
  const ended = state.step === last;
  let [known, unequal, departing] = [0, 0, 0];
  const cell = (shown, found, className = "") => {
    if (!shown) return html("td.same", "·");
    const brackets = state.operator !== "text" && html("span.brackets", found.brackets);
    return html("td", { class: className }, written(found), brackets);
  };
  const rows = range(0, length).map((place) => {
    const node = parallel.prefixes[place];
    const [one, other, fold] = [states[node], streamed[plan.pushes[place].prefix], plain[plan.plain[place]]];
    const inTree = ended || (form !== "streaming" && (node < plan.longest || done.has(node)));
    const inStream = ended || (form !== "parallel" && place < frame.chunks);
    const equal = one.text === other.text && one.brackets === other.brackets;
    const departs = fold.text !== one.text;
    known += inTree && inStream;
    unequal += !equal;
    departing += departs;
    const head = html("th", { scope: "row" }, `${place + 1}`, html("span.brackets", binary(place + 1)));
    const sign = html(equal ? "td.good" : "td.bad", inTree && inStream && (equal ? "=" : "≠"));
    return [head, cell(inTree, one), sign, cell(inStream, other), cell(ended, fold, departs ? "differs" : "same")];
  });
  const drawn = table(["chunks", "in parallel", "", "as a stream", "plain fold"], rows);
  drawn.classList.toggle("many", length > 8);
  $("prefixes").replaceChildren(drawn);
  const soon =
    form === "both"
      ? `${known} of ${length} are known in both forms by now.`
      : "The last step shows both forms beside each other.";
  const all = length === 1 ? "The one prefix is" : `All ${length} prefixes are`;
  const same = `${all} equal in both forms, bracket by bracket.`;
  const naive = departing
    ? `The plain fold from left to right, (((0 1) 2) 3) and so on, differs for ${departing} of ${length}.`
    : "The plain fold from left to right has the same values here.";
  $("verdict").textContent = ended ? `${unequal ? `${unequal} of ${length} prefixes differ!` : same} ${naive}` : soon;
}

/** Say what happens at this step. */
function sentence() {
  const { frame, form, parallel, length, last } = view;
  const { calls, chunks, chunk, part, left, right } = frame;
  if (state.step === 0 && last) return `${counted(length, "chunk")}, and nothing is merged yet.`;
  const merges = (nodes) => {
    const more = nodes.length > 3 ? [`and ${nodes.length - 3} more`] : [];
    return `${counted(nodes.length, "merge")}, ${[...nodes.slice(0, 3).map(paired), ...more].join("; ")}.`;
  };
  const way = calls <= parallel.up ? "up" : "down";
  const call = `Call ${calls} of ${parallel.calls.length}, on the way ${way}: ${merges(left)}`;
  const arrival = right.length ? `arrives: ${merges(right)}` : "becomes a root.";
  const merge = () => {
    const [node] = right;
    const what = kind(node) === "up" ? `a carry to the digit ${span(node)[1] - span(node)[0]}` : "the fold";
    const done = part === null ? `; it is the prefix of ${counted(chunk + 1, "chunk")}` : "";
    return `Merge ${doneOn("right").size} of ${parallel.merges}: ${paired(node)}, ${what}${done}.`;
  };
  const first = part === null ? "; its digit was 0, and it is the first root" : "";
  const says = {
    both: () => `${left.length ? call : "In parallel all is done."} Chunk ${chunks - 1} ${arrival}`,
    parallel: () => (last ? call : "One chunk is its own prefix; there is nothing to merge."),
    streaming: () => (right.length ? merge() : `Chunk ${chunk} arrives${first}.`),
  };
  return says[form]() + (state.step === last ? " This is the end: both forms make the same merges." : "");
}
