// The plan comes from the library: which nodes are merged, in which order, by each form. This script applies the chosen
// operator to leaves and shows the steps. Text becomes a text node and nothing else.
(() => {
  const { plan, operators } = JSON.parse(document.getElementById("data").textContent);

  // ---- Nodes of the plan: the leaves come first, then the merges

  const operands = (node) => (node < plan.longest ? [] : plan.nodes[node - plan.longest]);
  const span = (node) => (node < plan.longest ? [node, node + 1] : plan.spans[node - plan.longest]);
  const made = (push) => (push.fold === null ? push.carries : [...push.carries, push.fold]);
  const trees = new Set(plan.pushes.flatMap((push) => push.carries));
  const kind = (node) => (node < plan.longest ? "leaf" : trees.has(node) ? "up" : "down");

  function short(node) {
    const [start, stop] = span(node);
    return stop - start === 1 ? `${start}` : `${start}-${stop - 1}`;
  }
  const named = (node) => (short(node).includes("-") ? `chunks ${short(node).replace("-", " to ")}` : `chunk ${short(node)}`);
  const counted = (count, thing) => `${count} ${thing}${count === 1 ? "" : "s"}`;
  const pair = (node) => operands(node).map(named).join(" with ");

  // ---- Operators: reading a leaf (null where it cannot be read), merging two states, writing a state

  const integer = (word) => (/^[+-]?\d{1,30}$/.test(word) ? BigInt(word.replace("+", "")) : null);

  function readMap(word) {
    const [, slope, shift] = /^([+-]?\d{0,30})x([+-]\d{1,30})?$/.exec(word) ?? [];
    if (slope === undefined) return null;
    return [integer(/\d/.test(slope) ? slope : `${slope}1`), integer(shift ?? "0")];
  }

  function writeMap([slope, shift]) {
    const factor = slope === 1n ? "" : slope === -1n ? "-" : `${slope}`;
    return `${factor}x${shift > 0n ? "+" : ""}${shift === 0n ? "" : shift}`;
  }

  const arithmetic = {
    text: {
      read: (word) => ([...word].length <= 40 && !/[()]/.test(word) ? word : null),
      merge: (left, right) => `(${left}${right})`,
      write: (state) => state,
    },
    sum: { read: integer, merge: (left, right) => left + right, write: String },
    skew: { read: integer, merge: (left, right) => 2n * left + 3n * right, write: String },
    affine: {
      read: readMap,
      merge: (left, right) => [right[0] * left[0], right[0] * left[1] + right[1]],
      write: writeMap,
    },
    cards: {
      read: (word) => (/^[1-5]{5}$/.test(word) && new Set(word).size === 5 ? word : null),
      merge: (left, right) => [...right].map((place) => left[place - 1]).join(""),
      write: (state) => state,
    },
  };

  /** Split what was typed into leaves; a sentence where that cannot be done. */
  function readLeaves(typed, key) {
    const words = typed.trim().split(/\s+/).filter(Boolean);
    if (words.length < 1 || words.length > plan.longest)
      return `There must be 1 to ${plan.longest} leaves, got ${words.length}; put spaces between them.`;
    const wrong = words.find((word) => arithmetic[key].read(word) === null);
    if (wrong === undefined) return words;
    return `${choice(key).typed.replace(/\.$/, "")}; got "${[...wrong].slice(0, 60).join("")}".`;
  }
  const choice = (key) => operators.find((operator) => operator.key === key);

  // ---- Runs: each form computes its own states, in its own order, from its own operands

  function run(order, words, key) {
    const { read, merge, write } = arithmetic[key];
    const states = words.map((word, place) => ({ value: read(word), brackets: `${place}` }));
    for (const node of order) {
      const [left, right] = operands(node).map((operand) => states[operand]);
      states[node] = { value: merge(left.value, right.value), brackets: `(${left.brackets} ${right.brackets})` };
    }
    for (const state of states) if (state) state.text = write(state.value);
    return states;
  }

  const same = (one, other) => one.text === other.text && one.brackets === other.brackets;

  // ---- Time. Three ways to step through one set of merges; both panels are there in each of them:
  //   both: each form at its own pace, a batched call against a chunk, so that one sees which is done first;
  //   parallel: call by call, streaming: merge by merge; then one order is shown at the merges' places in both panels.
  // A frame says how many calls and chunks are over, how many merges of the next chunk are, and what lights up where.

  function timeline(form, length) {
    const { calls } = plan.parallel[length - 1];
    const pushes = plan.pushes.slice(0, length);
    if (form === "parallel")
      return range(0, calls.length + 1).map((step) => {
        const lit = step ? calls[step - 1] : [];
        return { calls: step, chunks: 0, part: null, left: lit, right: lit };
      });
    if (form === "both")
      return range(0, Math.max(calls.length, length) + 1).map((step) => ({
        calls: Math.min(step, calls.length),
        chunks: Math.min(step, length),
        part: null,
        left: (step && calls[step - 1]) || [],
        right: step && step <= length ? made(pushes[step - 1]) : [],
      }));
    const frames = [{ calls: 0, chunks: 0, part: null, left: [], right: [] }];
    pushes.forEach((push, chunk) => {
      const merges = made(push);
      range(0, merges.length + 1).forEach((part) => {
        const lit = part ? [merges[part - 1]] : [];
        const over = part === merges.length;
        frames.push({ calls: 0, chunks: chunk + over, part: over ? null : part, chunk, left: lit, right: lit });
      });
    });
    frames.at(-1).calls = calls.length;
    return frames;
  }

  /** The merges that are made at a frame, for a panel. */
  function doneAt(side) {
    const { form, frame, parallel, length } = view;
    const inCalls = () => parallel.calls.slice(0, frame.calls).flat();
    const inStream = () => {
      const begun = frame.part === null ? [] : made(plan.pushes[frame.chunks]).slice(0, frame.part);
      return [...plan.pushes.slice(0, frame.chunks).flatMap(made), ...begun];
    };
    const byCalls = form === "parallel" || (form === "both" && side === "left");
    return new Set(byCalls ? inCalls() : inStream());
  }

  // ---- The state of the page and its address

  const defaults = () => ({ operator: "text", length: choice("text").count, own: null, form: "both", step: 0, refold: false });
  let state = defaults();
  let view = null; // what follows from the state
  const write = addressWriter();
  const forms = ["both", "parallel", "streaming"];

  const leavesOf = ({ own, operator, length }) => own ?? choice(operator).leaves.slice(0, length);
  const lengthOf = ({ own, length }) => (own ? own.length : length);

  function address() {
    const parts = new URLSearchParams({ operator: state.operator });
    if (state.own) parts.set("leaves", state.own.join(" "));
    else parts.set("n", state.length);
    parts.set("form", state.form);
    parts.set("step", state.step);
    if (state.refold) parts.set("refold", 1);
    return `#${parts}`;
  }

  /** Read an address; a sentence where it says what cannot be. */
  function readAddress(hash) {
    const found = defaults();
    const whole = (value, least, most) => (/^\d{1,3}$/.test(value) && value >= least && value <= most ? +value : null);
    const seen = new Set();
    const parts = [...new URLSearchParams(hash.slice(1))];
    const refused = (rule, got) => `The address must have ${rule}, got "${got.slice(0, 60)}"; here is the page as it begins.`;
    if (hash.length > 6000) return refused("at most 6000 characters", `${hash.length}`);
    const operator = parts.find(([name]) => name === "operator")?.[1];
    if (operator !== undefined) {
      if (!choice(operator)) return refused(`operator as one of ${operators.map((o) => o.key).join(", ")}`, operator);
      found.operator = operator;
      found.length = choice(operator).count;
    }
    for (const [name, value] of parts) {
      if (seen.has(name)) return refused("each name once", name);
      seen.add(name);
      if (name === "n") {
        found.length = whole(value, 1, plan.longest);
        if (found.length === null) return refused(`n as a whole number from 1 to ${plan.longest}`, value);
      } else if (name === "leaves") {
        const own = readLeaves(value, found.operator);
        if (typeof own === "string") return `${own} Here is the page as it begins.`;
        found.own = own;
      } else if (name === "form") {
        if (!forms.includes(value)) return refused(`form as one of ${forms.join(", ")}`, value);
        found.form = value;
      } else if (name === "refold") {
        if (value !== "1") return refused("refold as 1, or not at all", value);
        found.refold = true;
      } else if (name !== "operator" && name !== "step") return refused("operator, n or leaves, form, step, refold", name);
    }
    const last = timeline(found.form, lengthOf(found)).length - 1;
    const step = parts.find(([name]) => name === "step")?.[1] ?? "0";
    found.step = whole(step, 0, last);
    return found.step === null ? refused(`step as a whole number from 0 to ${last}`, step) : found;
  }

  function restore(hash) {
    const found = hash.length > 1 ? readAddress(hash) : defaults();
    const refused = typeof found === "string";
    tell("notice", refused ? found : "");
    state = refused ? defaults() : found;
    rebuild();
  }

  // ---- The tree: a column for each chunk, a row for each call; a node stands in the column of its last chunk

  const HIGH = 26;

  function drawTree() {
    const { parallel, length, states } = view;
    const gutter = 34;
    const room = Math.max(240, $("tree").clientWidth);
    const wide = Math.min(104, (room - gutter - 4) / length);
    const high = length > 16 ? 42 : 48;
    const rows = parallel.calls.length + 2;
    const x = (node) => gutter + (span(node)[1] - 0.5) * wide;
    const row = new Map(range(0, length).map((leaf) => [leaf, 0]));
    parallel.calls.forEach((call, place) => call.forEach((node) => row.set(node, place + 1)));
    const y = (line) => 20 + line * high;
    const size = { width: gutter + wide * length + 4, height: y(rows - 1) + 24 };
    const words = `${length} chunks in the first row, ${parallel.calls.length} rows of merges, ${length} prefixes in the last row.`;
    const drawing = svg(
      "svg",
      { ...size, viewBox: `0 0 ${size.width} ${size.height}`, role: "img", "aria-labelledby": "tree-title tree-words" },
      svg("title", { id: "tree-title" }, "The tree of the scan"),
      svg("desc", { id: "tree-words" }, words),
    );
    const labels = ["in", ...parallel.calls.map((_, place) => (place < parallel.up ? "up" : "down")), "out"];
    labels.forEach((label, line) => drawing.append(svg("text", { class: "row", x: 0, y: y(line) }, label)));
    view.edges = new Map();
    view.shapes = new Map();
    const edge = (from, to, toLine, path) => {
      const line = svg("path", { class: `edge ${kind(to)}`, d: path });
      view.edges.set(`${from} ${to} ${toLine}`, { line, to });
      drawing.append(line);
    };
    for (const [node, line] of row)
      for (const from of operands(node)) {
        const bend = kind(node) === "up" ? `V${y(line)}` : `V${y(line - 1) + HIGH / 2}`;
        edge(from, node, line, `M${x(from)} ${y(row.get(from))}${bend}L${x(node)} ${y(line)}`);
      }
    parallel.prefixes.forEach((node) => edge(node, node, rows - 1, `M${x(node)} ${y(row.get(node))}V${y(rows - 1)}`));
    for (const [node, line] of row) drawing.append(shape(node, x, y(line), wide, states[node], "node"));
    parallel.prefixes.forEach((node) => drawing.append(shape(node, x, y(rows - 1), wide, states[node], "out")));
    $("tree").replaceChildren(drawing);
    view.drawnWidth = $("tree").clientWidth;
  }

  function shape(node, x, y, wide, { text, brackets }, where) {
    const group = svg("g", { class: kind(node) }, svg("title", {}, `${named(node)}: ${text}, bracketed ${brackets}`));
    const isBar = kind(node) === "up" && where === "node"; // a bar lies over all chunks of its tree
    const left = x(node) - (isBar ? span(node)[1] - span(node)[0] - 0.5 : 0.5) * wide + 1.5;
    const width = x(node) + wide / 2 - 1.5 - left;
    const value = label(text, left + width / 2, y, width);
    if (isBar || value) {
      const box = { x: left, y: y - HIGH / 2, width, height: HIGH, rx: Math.min(8, wide / 2) };
      group.append(svg("rect", { class: "shape", ...box }));
      if (value) group.append(value);
    } else group.append(svg("circle", { class: "shape", cx: x(node), cy: y, r: Math.min(7, wide / 2 - 1) }));
    const kept = view.shapes.get(node) ?? { node: [], out: [] };
    kept[where].push(group);
    view.shapes.set(node, kept);
    return group;
  }

  /** Write a state where there is room for it; null where there is not. */
  function label(text, x, y, room) {
    if (state.operator !== "cards")
      return 7.3 * text.length + 4 <= room ? svg("text", { class: "value on-shape", x, y }, text) : null;
    const card = Math.min(13, room / 5 - 1);
    if (card < 5) return null;
    return svg(
      "g",
      { class: "cards" },
      ...[...text].flatMap((name, place) => {
        const left = x + (place - 2.5) * (card + 1) + 0.5;
        const box = svg("rect", { class: `card${name}`, x: left, y: y - 8, width: card, height: 16, rx: 2 });
        return card < 8 ? [box] : [box, svg("text", { x: left + card / 2, y }, name)];
      }),
    );
  }

  function lightTree() {
    const done = doneAt("left");
    const lit = new Set(view.frame.left);
    const arrives = view.frame.left.length ? [] : [view.frame.chunk];
    const touched = new Set([...view.frame.left.flatMap(operands), ...arrives]);
    const there = (node) => node < plan.longest || done.has(node);
    for (const [node, { node: own, out }] of view.shapes) {
      for (const group of own) {
        group.classList.toggle("done", there(node));
        group.classList.toggle("now-node", lit.has(node));
        group.classList.toggle("operand", touched.has(node));
      }
      for (const group of out) group.classList.toggle("done", there(node));
    }
    for (const { line, to } of view.edges.values()) {
      line.classList.toggle("done", there(to));
      line.classList.toggle("now-edge", lit.has(to));
    }
  }

  // ---- The counter: its digits, its roots and folds, and the merges of every chunk

  function stateCell(node, fresh) {
    if (node === null) return html("td", {}, "–");
    return html("td", { class: fresh ? "fresh" : "" }, named(node), written(view.streamed[node], "state"));
  }

  function written({ text }, className) {
    if (state.operator !== "cards") return html("span", { class: className }, text);
    return html("span", { class: className }, ...[...text].map((name) => html("span", { class: `swatch card${name}` }, name)));
  }

  function drawCounter() {
    const { frame, length } = view;
    const before = frame.chunks ? plan.pushes[frame.chunks - 1] : { roots: [], folds: [] };
    const carried = frame.part ?? 0; // digits that the carry has passed
    const carry = frame.part === null ? null : frame.part ? made(plan.pushes[frame.chunks])[frame.part - 1] : frame.chunks;
    const at = (states, level) => (level < carried ? null : (states[level] ?? null));
    const levels = range(0, length.toString(2).length).reverse();
    const digits = levels.map((level) => {
      const one = at(before.roots, level) !== null;
      return html("b", { class: one ? "one" : "" }, one ? "1" : "0");
    });
    const count = counted(frame.chunks, "chunk");
    const note = carry === null ? count : `${count}, and ${named(carry)} to put down`;
    const fresh = (node) => frame.part === null && (frame.right.includes(node) || node === frame.chunks - 1);
    const rows = levels.map((level) => {
      const [root, fold] = [at(before.roots, level), at(before.folds, level)];
      const head = html("th", { scope: "row" }, `${2 ** level}${level ? "s" : ""}`);
      return html("tr", {}, head, stateCell(root, fresh(root)), stateCell(fold, fresh(fold)));
    });
    const head = ["digit", "root", "fold"].map((name) => html("th", { scope: "col" }, name));
    const table = html("table", {}, html("thead", {}, html("tr", {}, ...head)), html("tbody", {}, ...rows));
    $("counter").replaceChildren(html("div", { class: "digits" }, ...digits, note), table);
    $("counter").hidden = state.form === "parallel";
  }

  function drawLedger() {
    const bits = view.length.toString(2).length;
    view.chips = [];
    view.rows = plan.pushes.slice(0, view.length).map((push, chunk) => {
      const again = state.refold ? push.refolds.filter((node) => node !== push.fold) : [];
      const chip = (node, className, words) => {
        const text = operands(node).map(short).join("·");
        const drawn = html("span", { class: `chip ${className}`, title: `${words}: ${pair(node)}` }, text);
        view.chips.push({ chip: drawn, node, chunk, again: className === "again" });
        return drawn;
      };
      const chips = [
        ...push.carries.map((node) => chip(node, "up", "carry")),
        ...again.map((node) => chip(node, "again", "folded again")),
        ...(push.fold === null ? [] : [chip(push.fold, "down", "fold")]),
      ];
      const count = `${chunk + 1}`.padStart(2) + " = " + (chunk + 1).toString(2).padStart(bits, "0");
      return html("li", {}, html("span", { class: "count" }, count), html("span", { class: "chips" }, ...chips));
    });
    $("ledger").className = view.form === "parallel" ? "tall" : "";
    $("ledger").replaceChildren(html("ol", {}, ...view.rows));
  }

  function lightLedger() {
    const { frame, form } = view;
    const done = doneAt("right");
    const lit = new Set(frame.right);
    for (const { chip, node, again, chunk } of view.chips) {
      // A fold of all roots comes right after the chunk, and makes again what was there.
      const over = again ? form !== "parallel" && chunk < frame.chunks : done.has(node);
      chip.classList.toggle("done", over);
      chip.classList.toggle("now-node", !again && lit.has(node));
    }
    const current = form === "parallel" ? -1 : frame.part === null ? frame.chunks - 1 : frame.chunks;
    view.rows.forEach((row, chunk) => row.classList.toggle("current", chunk === current));
    const box = $("ledger");
    if (current >= 0) box.scrollTop = view.rows[current].offsetTop - box.clientHeight / 2;
  }

  // ---- Tables, figures and words

  function equations(id, nodes, states, nothing) {
    const lines = nodes.map((node) => {
      const [left, right] = operands(node).map((operand) => written(states[operand], "state"));
      return html("p", { class: "merge" }, left, " · ", right, " = ", html("b", {}, written(states[node], "state")));
    });
    $(id).replaceChildren(...(lines.length ? lines : [html("p", { class: "soft" }, nothing)]));
    $(id).scrollTop = 0;
  }

  function drawEquations() {
    const { frame, form, length } = view;
    const over = length === 1 ? "One chunk needs no merge." : frame.calls === view.parallel.calls.length ? "All is merged." : "Nothing is merged yet.";
    equations("tree-now", frame.left, view.states, form === "streaming" ? "No merge at this step." : over);
    equations("counter-now", frame.right, view.streamed, "No merge at this step.");
    $("counter-now").hidden = form === "parallel";
  }

  function drawCounts() {
    const { frame, form, parallel, length } = view;
    const ones = (count) => [...count.toString(2)].filter((digit) => digit === "1").length;
    const formula = (count) => `2·${count} − ${ones(count)} − ${count.toString(2).length}`;
    const total = plan.pushes[length - 1].merges;
    const tiles = [];
    const tile = (figure, words, holds) =>
      tiles.push(html("div", { class: `tile ${holds ? "good" : "bad"}` }, html("b", {}, figure), html("span", {}, words)));
    const merged = doneAt("right").size;
    if (form !== "streaming") {
      const count = doneAt("left").size;
      tile(`${count} of ${parallel.merges}`, `merges in parallel; the formula says ${formula(length)} = ${parallel.merges}`,
        parallel.calls.flat().length === parallel.merges);
      tile(`${frame.calls} of ${parallel.calls.length}`, `batched calls, the depth; at most 2·${length.toString(2).length} − 1 = ${parallel.most_calls}`,
        parallel.calls.length <= parallel.most_calls);
    }
    if (form !== "parallel") {
      const push = frame.chunks ? plan.pushes[frame.chunks - 1] : { merges: 0, kept: 0, roots: [] };
      const kept = push.roots.filter((root) => root !== null).length;
      tile(`${merged} of ${total}`, `merges in the stream; ${frame.chunks ? `for ${counted(frame.chunks, "chunk")} the formula says ${formula(frame.chunks)} = ${push.merges}` : "no chunk has come yet"}`,
        frame.part !== null || merged === push.merges);
      tile(`${kept}`, `roots kept: the ones in ${frame.chunks.toString(2)}`, kept === push.kept);
    }
    if (state.refold) {
      const pushes = plan.pushes.slice(0, form === "parallel" ? length : frame.chunks);
      const again = pushes.reduce((sum, push) => sum + push.refolds.length - (push.fold !== null), 0);
      const needed = pushes.reduce((sum, push) => sum + made(push).length, 0);
      tile(`+${again}`, `merges more if all roots are folded again after each chunk: ${needed + again} in place of ${needed}`, true);
    }
    $("counts").replaceChildren(...tiles);
  }

  function drawPrefixes() {
    const { frame, form, parallel, length, states, streamed, plain, last } = view;
    const done = doneAt("left");
    const ended = state.step === last;
    const cell = (found) => {
      if (!found) return html("td", { class: "same" }, "·");
      const parts = [written(found, "state")];
      if (state.operator !== "text") parts.push(html("span", { class: "brackets" }, found.brackets));
      return html("td", {}, ...parts);
    };
    let differ = 0, unequal = 0;
    const rows = range(0, length).map((place) => {
      const node = parallel.prefixes[place];
      const push = plan.pushes[place];
      const inTree = ended || (form !== "streaming" && (node < plan.longest || done.has(node)));
      const inStream = ended || (form !== "parallel" && place < frame.chunks);
      const [one, other] = [states[node], streamed[push.prefix]];
      const fold = plain[plan.plain[place]];
      const equal = same(one, other);
      const departs = fold.text !== one.text;
      differ += departs;
      unequal += !equal;
      const mark = inTree && inStream ? (equal ? "=" : "≠") : "";
      const naive = cell(ended ? fold : null);
      if (ended) naive.className = departs ? "differs" : "same";
      const binary = html("span", { class: "brackets" }, (place + 1).toString(2));
      const middle = html("td", { class: equal ? "good" : "bad" }, mark);
      return html("tr", {}, html("th", { scope: "row" }, `${place + 1}`, binary), cell(inTree && one), middle, cell(inStream && other), naive);
    });
    const head = ["chunks", "in parallel", "", "as a stream", "plain fold"].map((name) =>
      name ? html("th", { scope: "col" }, name) : html("td", {}),
    );
    $("prefixes").replaceChildren(
      html("table", { class: length > 8 ? "many" : "" }, html("thead", {}, html("tr", {}, ...head)), html("tbody", {}, ...rows)),
    );
    const all = length === 1 ? "The one prefix is" : `All ${length} prefixes are`;
    const equal = unequal ? `${unequal} of ${length} prefixes differ!` : `${all} equal in both forms, bracket by bracket.`;
    const naive = differ
      ? ` The plain fold from left to right, (((0 1) 2) 3) and so on, differs for ${differ} of ${length}.`
      : " The plain fold from left to right has the same values here.";
    $("verdict").textContent = ended ? equal + naive : "";
  }

  function sentence() {
    const { frame, form, parallel, length, last } = view;
    const list = (nodes) => {
      const shown = nodes.slice(0, 3).map(pair).join("; ");
      return nodes.length > 3 ? `${shown}; and ${nodes.length - 3} more` : shown;
    };
    const call = () => {
      const way = frame.calls <= parallel.up ? "up" : "down";
      return `Call ${frame.calls} of ${parallel.calls.length}, on the way ${way}: ${counted(frame.left.length, "merge")}, ${list(frame.left)}.`;
    };
    const end = state.step === last ? " This is the end: both forms make the same merges." : "";
    if (state.step === 0 && last) return `${counted(length, "chunk")}, and nothing is merged yet.`;
    if (form === "parallel") return (last ? call() : "One chunk is its own prefix; there is nothing to merge.") + end;
    if (form === "both") {
      const tree = frame.left.length ? call() : "In parallel all is done.";
      const chunk = frame.chunks - 1;
      const stream = !frame.right.length ? `Chunk ${chunk} becomes a root.` : `Chunk ${chunk} arrives: ${counted(frame.right.length, "merge")}, ${list(frame.right)}.`;
      return `${tree} ${stream}${end}`;
    }
    const { chunk } = frame;
    if (!frame.right.length) {
      const odd = frame.part === null ? "; its digit was 0, and it is the first root" : "";
      return `Chunk ${chunk} arrives${odd}.${end}`;
    }
    const [node] = frame.right;
    const what = kind(node) === "up" ? `a carry to the digit ${span(node)[1] - span(node)[0]}` : "the fold";
    const done = frame.part === null ? `; it is the prefix of ${counted(chunk + 1, "chunk")}` : "";
    return `Merge ${doneAt("right").size} of ${parallel.merges}: ${pair(node)}, ${what}${done}.${end}`;
  }

  // ---- Putting it together

  /** Compute what follows from the operator, the leaves and the form, and draw what stays for all steps. */
  function rebuild() {
    const { operator, form } = state;
    const [words, length] = [leavesOf(state), lengthOf(state)];
    const parallel = plan.parallel[length - 1];
    const frames = timeline(form, length);
    view = { form, length, parallel, frames, last: frames.length - 1, frame: frames[0] };
    view.states = run(parallel.calls.flat(), words, operator);
    view.streamed = run(plan.pushes.slice(0, length).flatMap(made), words, operator);
    view.plain = run(plan.plain.slice(1, length), words, operator);
    $("operator").value = operator;
    $("length").value = length;
    $("length-shown").textContent = length;
    $("leaves").value = words.join(" ");
    $("leaves").removeAttribute("aria-invalid");
    tell("problem", "");
    const { merge, law, typed } = choice(operator);
    $("typed").textContent = `left · right = ${merge}. ${law} ${typed}`;
    $("refold").checked = state.refold;
    for (const button of document.getElementsByName("form")) button.checked = button.value === form;
    $("scrub").max = view.last;
    drawTree();
    drawLedger();
    show();
  }

  /** Draw what belongs to one step. */
  function show() {
    state.step = Math.min(state.step, view.last);
    view.frame = view.frames[state.step];
    const words = sentence();
    $("scrub").value = state.step;
    $("scrub").setAttribute("aria-valuetext", `step ${state.step} of ${view.last}`);
    $("step-shown").textContent = `${state.step} of ${view.last}`;
    $("words").textContent = words;
    for (const id of ["first", "back"]) $(id).setAttribute("aria-disabled", state.step === 0);
    for (const id of ["next", "last"]) $(id).setAttribute("aria-disabled", state.step === view.last);
    lightTree();
    drawCounter();
    lightLedger();
    drawEquations();
    drawCounts();
    drawPrefixes();
    write(address());
  }

  function go(step) {
    state.step = Math.max(0, Math.min(view.last, step));
    show();
  }

  let timer = 0;
  function pause() {
    clearTimeout(timer);
    timer = 0;
    $("play").textContent = "▶ play";
    $("play").setAttribute("aria-label", "Play");
    $("words").setAttribute("aria-live", "polite");
  }

  function play() {
    if (state.step === view.last) go(0);
    $("play").textContent = "❚❚ pause";
    $("play").setAttribute("aria-label", "Pause");
    $("words").setAttribute("aria-live", "off"); // nobody could listen that fast
    const tick = () => {
      go(state.step + 1);
      if (state.step === view.last) pause();
      else timer = setTimeout(tick, 1000 * $("speed").value);
    };
    timer = setTimeout(tick, 1000 * $("speed").value);
  }

  const toggle = () => (timer ? pause() : play());

  /** Change what is scanned, or how; the steps begin anew. */
  function change(changes) {
    pause();
    tell("notice", "");
    Object.assign(state, { step: 0 }, changes);
    rebuild();
  }

  // ---- Controls

  const moves = { first: () => go(0), back: () => go(state.step - 1), next: () => go(state.step + 1), last: () => go(view.last) };
  for (const [id, move] of Object.entries(moves))
    $(id).addEventListener("click", () => {
      pause();
      move();
    });
  $("play").addEventListener("click", toggle);
  $("scrub").addEventListener("input", (event) => {
    pause();
    go(+event.target.value);
  });
  $("operator").addEventListener("change", ({ target }) =>
    change({ operator: target.value, own: null, length: choice(target.value).count }),
  );
  $("length").addEventListener("input", ({ target }) => change({ own: null, length: +target.value }));
  $("leaves").addEventListener("change", ({ target }) => {
    const own = readLeaves(target.value, state.operator);
    if (Array.isArray(own)) return change({ own });
    target.setAttribute("aria-invalid", "true");
    return tell("problem", own);
  });
  $("refold").addEventListener("change", ({ target }) => change({ refold: target.checked, step: state.step }));
  for (const button of document.getElementsByName("form"))
    button.addEventListener("change", ({ target }) => change({ form: target.value }));

  const keys = { ArrowLeft: moves.back, ArrowRight: moves.next, Home: moves.first, End: moves.last, " ": toggle };
  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    const taken = target.closest("input, select, [role=region]") || (key === " " && target.closest("button"));
    if (!Object.hasOwn(keys, key) || taken || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (key !== " ") pause();
    keys[key]();
  });
  window.addEventListener("hashchange", ({ newURL }) => {
    pause();
    restore(new URL(newURL).hash);
  });
  new ResizeObserver(() => {
    if ($("tree").clientWidth === view.drawnWidth) return;
    drawTree();
    lightTree();
  }).observe($("tree"));
  restore(location.hash);
})();
