// The trace comes from the library: what was merged with what, and every number. This script draws it, or one that is
// loaded from a file, which is compared with the library's own schema first. Text becomes a text node and nothing else.
(() => {
  const { trace: given, schema, limits } = JSON.parse(document.getElementById("data").textContent);

  // ---- Files: the same rules as in Python

  const cure = "give a file that scannable wrote, as it was.";
  const fits = {
    whole: (value) => Number.isSafeInteger(value) && value >= 0,
    number: (value) => typeof value === "number",
    text: (value) => typeof value === "string",
    flag: (value) => typeof value === "boolean",
  };

  /** Compare a value with its part of the schema; return a sentence if it does not fit. */
  function misfit(value, wanted, place) {
    const refused = (rule) => `The trace must have ${rule} at ${place}, got ${brief(value)}; ${cure}`;
    if (typeof wanted === "string") {
      const kind = wanted.replace("?", "");
      return fits[kind](value) || (kind !== wanted && value === null) ? "" : refused(`a ${kind}`);
    }
    if (Array.isArray(wanted)) {
      if (!Array.isArray(value)) return refused("a list");
      return firstOf(value, (entry, number) => misfit(entry, wanted[0], `${place}[${number}]`));
    }
    if ("?" in wanted) return value === null ? "" : misfit(value, wanted["?"], place);
    const names = Object.keys(wanted);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    if (!isObject || Object.keys(value).length !== names.length || !names.every((name) => Object.hasOwn(value, name)))
      return refused(`an object with ${names.join(", ")}`);
    return firstOf(names, (name) => misfit(value[name], wanted[name], `${place}.${name}`));
  }
  const brief = (value) => `${JSON.stringify(value)}`.slice(0, 40);

  function firstOf(entries, tell) {
    for (let place = 0; place < entries.length; place++) {
      const found = tell(entries[place], place);
      if (found) return found;
    }
    return "";
  }

  /** Say what keeps the nodes from being a tree over the tokens; nothing if all is well. */
  function broken({ kind, leaves, chunk, tokens, nodes, chunks }) {
    if (!limits.kinds.includes(kind)) return `the kind ${brief(kind)}`;
    if (leaves > limits.leaves || nodes.length < leaves || nodes.length > 3 * limits.leaves)
      return `${leaves} leaves and ${nodes.length} nodes`;
    if (tokens.length <= leaves * chunk || tokens.length > (leaves + 1) * chunk)
      return `${tokens.length} tokens for ${leaves} leaves in chunks of ${chunk}`;
    const isLeaf = (node, number) =>
      node.left === null && node.right === null && node.level === 0 && node.first === number && node.last === number;
    const isMerge = (node, number) => {
      if (node.left === null || node.right === null || node.left >= number || node.right >= number) return false;
      const [left, right] = [nodes[node.left], nodes[node.right]];
      const joined = left.first === node.first && left.last + 1 === right.first && right.last === node.last;
      return joined && node.level === 1 + Math.max(left.level, right.level);
    };
    const isPrefix = ({ prefix }, chunk) =>
      prefix === null ? chunk === 0 : prefix < nodes.length && nodes[prefix].first === 0 && nodes[prefix].last === chunk - 1;
    const wrong = nodes.findIndex((node, number) => !(number < leaves ? isLeaf : isMerge)(node, number));
    if (wrong >= 0) return `node ${wrong}, which does not cover what its children cover`;
    const read = chunks.length === leaves + 1 && chunks.every(isPrefix);
    return read ? "" : "chunks that are not read with the state of all before them";
  }

  /** Return a trace, or a sentence on why it is none. */
  function readTrace(text) {
    let found;
    try {
      found = JSON.parse(text);
    } catch {
      return `A trace must be JSON, got something else; ${cure}`;
    }
    const format = found && typeof found === "object" ? found.format : null;
    if (format !== limits.format) return `A trace must have format ${limits.format}, got ${brief(format)}; ${cure}`;
    const wrong = misfit(found, schema, "the trace");
    if (wrong) return wrong;
    const reason = broken(found);
    return reason ? `A trace must be a tree over its tokens, got ${reason}; ${cure}` : found;
  }

  // ---- What follows from a trace

  function prepare(trace) {
    const { nodes, tokens, chunk, leaves, names } = trace;
    const found = { ...trace, columns: leaves + 1, named: new Map(names.map(({ id, text }) => [id, text])) };
    found.levels = []; // at k the perfect trees of 2^k leaves, by place
    found.parents = new Map();
    nodes.forEach((node, number) => {
      const size = node.last - node.first + 1;
      if (size !== 2 ** node.level || node.first % size) return;
      (found.levels[node.level] ??= [])[node.first / size] = number;
      for (const child of [node.left, node.right]) if (child !== null) found.parents.set(child, number);
    });
    const sums = (value) => tokens.reduce((all, token) => push(all, all.at(-1) + (value(token) ?? 0)), [0]);
    found.worst = tokens.reduce((most, { loss }) => Math.max(most, loss ?? 0), 1e-9);
    found.sums = {
      loss: sums(({ loss }) => loss),
      told: sums(({ loss }) => loss !== null),
      correct: sums(({ correct }) => correct),
      asked: sums(({ correct }) => correct !== null),
    };
    found.below = (what, per, start, stop) => {
      const between = (sum) => sum[Math.min(stop, tokens.length)] - sum[start];
      const count = between(found.sums[per]);
      return count ? between(found.sums[what]) / count : null;
    };
    found.under = (node, what, per) => found.below(what, per, node.first * chunk, (node.last + 1) * chunk);
    found.calls = new Set(nodes.slice(leaves).map(({ call }) => call)).size;
    found.scales = new Map();
    return found;
  }
  const push = (list, value) => (list.push(value), list);

  const measures = {
    element: { name: "decoded element, right or wrong", of: ({ correct }) => (correct === null ? null : +correct), scale: "verdict" },
    size: { name: "size of the state (root mean square)", of: ({ size }) => size, scale: "range" },
    from_left: { name: "change from the left child", of: ({ from_left }) => from_left, scale: "range" },
    from_right: { name: "change from the right child", of: ({ from_right }) => from_right, scale: "range" },
    attention: { name: "attention to the left child", of: ({ attention }) => attention?.left ?? null, scale: "balance" },
    loss: { name: "mean loss of the tokens below (nats)", of: (node) => shown.under(node, "loss", "told"), scale: "range" },
    correct: { name: "share of right answers to the tokens below", of: (node) => shown.under(node, "correct", "asked"), scale: "share" },
  };

  const mean = (values) => {
    const some = values.filter((value) => value !== null);
    return some.length ? some.reduce((sum, value) => sum + value, 0) / some.length : null;
  };

  /** The least and the largest value of a measure over all nodes; null where there is none. */
  function ends(key) {
    if (!shown.scales.has(key)) {
      const { of, scale } = measures[key];
      let [low, high] = [Infinity, -Infinity];
      for (const node of shown.nodes) {
        const value = of(node);
        if (value !== null) [low, high] = [Math.min(low, value), Math.max(high, value)];
      }
      const whole = scale === "range" ? [low, high] : [0, 1];
      shown.scales.set(key, low > high ? null : whole);
    }
    return shown.scales.get(key);
  }

  // ---- Words

  const digits = (value) => (value === null ? "–" : value && Math.abs(value) < 0.001 ? value.toExponential(1) : `${+value.toPrecision(4)}`);
  const percent = (value) => (value === null ? "–" : value && value < 1e-4 ? "< 0.01 %" : `${+(100 * value).toPrecision(3)} %`);
  const span = (what, first, last) => (first === last ? `${what} ${first}` : `${what}s ${first}-${last}`);
  const chunksOf = ({ first, last }) => span("chunk", first, last);

  /** Show white space and control characters; cut long texts. */
  function visible(text, most = 24) {
    const signs = { " ": "·", "\n": "↵", "\t": "⇥", "\r": "␍" };
    const hidden = (letter) => `\\x${letter.codePointAt(0).toString(16).padStart(2, "0")}`;
    const drawn = [...text.slice(0, 200)].map((letter) => signs[letter] ?? (/[\p{C}\p{Z}]/u.test(letter) ? hidden(letter) : letter));
    return drawn.length > most ? `${drawn.slice(0, most - 1).join("")}…` : drawn.join("");
  }
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  function name(id) {
    const text = id === null ? "" : (shown.named.get(id) ?? `${id}`);
    return shown.kind === "text" ? visible(text) : cut(text, 120);
  }
  const label = (node) => (node.element !== null ? name(node.element) : node.lens.length ? name(node.lens[0].id) : "");

  // ---- Colours, from the page's own palette, so that a drawing that is saved has them too

  let palette = {};
  function readPalette() {
    const style = getComputedStyle(document.documentElement);
    const rgb = (key) => style.getPropertyValue(`--${key}`).trim().match(/[0-9a-f]{2}/gi).map((pair) => parseInt(pair, 16));
    palette = Object.fromEntries(["card", "ink", "line", "soft", "tone0", "tone1", "tone2", "good", "bad"].map((key) => [key, rgb(key)]));
  }
  const css = (colour) => `rgb(${colour.map(Math.round).join(", ")})`;
  const mix = (one, other, share) => one.map((value, place) => value + (other[place] - value) * share);
  const toned = (key, share) => mix(palette.card, palette[key], 0.1 + 0.9 * Math.max(0, Math.min(1, share)));

  function light(colour) {
    const parts = colour.map((value) => (value / 255 <= 0.04045 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  }
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const inkOn = (colour) => [[17, 17, 17], [255, 255, 255]].sort((a, b) => contrast(b, colour) - contrast(a, colour))[0];

  const strength = (value, key) => {
    const [low, high] = ends(key);
    return high > low ? (value - low) / (high - low) : 0.5;
  };
  function colour(value, key) {
    if (value === null || !ends(key)) return null;
    switch (measures[key].scale) {
      case "verdict":
        return palette[value === 1 ? "good" : "bad"];
      case "balance":
        return toned(value > 0.5 ? "tone1" : "tone0", Math.abs(2 * value - 1));
      case "share":
        return toned("tone2", value);
      default:
        return toned("tone0", strength(value, key));
    }
  }

  // ---- What is shown: the trace, the measure, the columns in view, and what is chosen

  let shown = null;
  const state = { measure: "size", from: 0, to: 1, node: null, chunk: null };

  function show(trace) {
    shown = prepare(trace);
    const offered = Object.keys(measures).filter((key) => ends(key));
    $("measure").replaceChildren(...offered.map((key) => html("option", { value: key }, measures[key].name)));
    const last = shown.nodes.length ? shown.nodes.length - 1 : null;
    const top = shown.levels.length ? shown.levels.at(-1)[0] ?? last : last;
    Object.assign(state, { measure: offered[0] ?? "size", from: 0, to: shown.columns, node: top, chunk: top === null ? 0 : null });
    $("measure").value = state.measure;
    const { kind, tokens, leaves, nodes, model, title } = shown;
    const things = { words: "group elements", text: "tokens of text", ids: "tokens" }[kind];
    $("headline").textContent = `What ${cut(model.name, 120)} made of ${tokens.length.toLocaleString("en")} ${things}`;
    $("origin").textContent = title ? `scannable · ${cut(title, 120)}` : "scannable";
    const right = mean(nodes.map(measures.element.of));
    const found = [
      [leaves, `leaves: ${leaves === 1 ? "a chunk" : "chunks"} of ${shown.chunk === 1 ? "one token" : `${shown.chunk} tokens`}`, ""],
      [nodes.length - leaves, `merges by ${cut(model.aggregator, 120)}${model.codebook ? " with a codebook" : ""}, in ${shown.calls} batched calls`, ""],
    ];
    if (right !== null) found.push([percent(right), "of the nodes decode to the true product", right === 1 ? "good" : "bad"]);
    const loss = shown.below("loss", "told", 0, tokens.length);
    if (loss !== null) found.push([digits(loss), "nats a token, the mean loss", ""]);
    const answers = shown.below("correct", "asked", 0, tokens.length);
    if (answers !== null) found.push([percent(answers), "of the answers are right", ""]);
    $("counts").replaceChildren(
      ...found.map(([figure, words, mood]) => html("div", { class: `tile ${mood}` }, html("b", {}, figure.toLocaleString("en")), html("span", {}, words))),
    );
    draw();
    choose(state.node, state.chunk);
    for (const id of ["nodes-table", "tokens-table"]) tabulate(id, 0);
  }

  // ---- The drawing: a row for each level; circles where nodes have room, else cells, of several nodes if need be

  const ROOMY = 16; // from so many pixels a node on, a row has circles
  const CELL = 3; // the least width of a cell

  function draw() {
    readPalette();
    const { levels, columns } = shown;
    const room = Math.max(260, $("map").clientWidth);
    const [gutter, head] = [46, 40];
    const wide = (room - gutter - 6) / (state.to - state.from);
    const x = (column) => gutter + (Math.max(state.from, Math.min(state.to, column)) - state.from) * wide;
    const seen = (first, last) => last >= state.from && first < state.to;
    const drawing = svg("svg", { class: "run", width: room, "aria-hidden": "true" });
    const [edges, marks] = [svg("g"), svg("g")];
    drawing.append(edges, marks);
    const places = new Map(); // of circles, so that edges find them
    let y = head;
    const rowLabel = (text, at) => marks.append(svg("text", { class: "tick", x: gutter - 8, y: at + 4, "text-anchor": "end" }, text));

    for (const [level, row] of [...levels.entries()].reverse()) {
      const size = 2 ** level;
      const inView = row.filter((number) => seen(shown.nodes[number].first, shown.nodes[number].last));
      if (!inView.length) continue;
      if (size * wide >= ROOMY) {
        const most = Math.min(15, size * wide / 2 - 1);
        y += most + 4;
        for (const number of inView) {
          const node = shown.nodes[number];
          const at = { x: (x(node.first) + x(node.last + 1)) / 2, y, room: x(node.last + 1) - x(node.first) };
          places.set(number, at);
          marks.append(circle(number, at, most));
        }
        rowLabel(`${size}`, y);
        y += most + (level ? 26 : 20);
      } else {
        marks.append(...cells(inView.map((number) => [number, shown.nodes[number]]), size, x, wide, y, 16));
        rowLabel(`${size}`, y + 8);
        y += 20;
      }
    }
    for (const [number, at] of places) for (const side of ["left", "right"]) edges.append(...edge(number, side, at, places));

    y += 8;
    const read = range(state.from, state.to).map((chunk) => [shown.chunks[chunk].prefix, { first: chunk, last: chunk }]);
    marks.append(...cells(read, 1, x, wide, y, 18, "chunk"));
    rowLabel("prefix", y + 9);
    y += 26;
    if (ends("loss") || shown.tokens.some(({ loss }) => loss !== null)) {
      marks.append(...bars(x, wide, y));
      rowLabel("loss", y + 22);
      y += 50;
    }
    y = tokenLabels(marks, x, wide, y);
    drawing.append(...legend(room));
    fill(drawing, { height: y + 8, viewBox: `0 0 ${room} ${y + 8}` }, []);
    $("map").replaceChildren(drawing);
    shown.drawnWidth = $("map").clientWidth;
    const part = state.from > 0 || state.to < columns;
    $("in-view").textContent = part ? `${span("chunk", state.from, state.to - 1)} of ${columns}` : `all ${columns} chunks`;
    mark();
    remember();
  }

  const tip = (words) => svg("title", {}, words);

  function circle(number, at, most) {
    const node = shown.nodes[number];
    const value = measures[state.measure].of(node);
    const tone = colour(value, state.measure);
    const verdict = measures[state.measure].scale === "verdict";
    const r = value === null || verdict ? most * 0.8 : most * (0.55 + 0.45 * strength(value, state.measure));
    const group = svg("g", { class: "node", "data-node": number }, tip(`${chunksOf(node)}: ${digits(value)}`));
    const style = tone ? { fill: css(tone), stroke: css(mix(tone, palette.ink, 0.35)) } : { fill: css(palette.card), stroke: css(palette.soft), "stroke-dasharray": "2 3" };
    const wrong = verdict && value === 0;
    group.append(
      wrong
        ? svg("path", { class: "shape", d: `M${at.x} ${at.y - r}L${at.x + r} ${at.y}L${at.x} ${at.y + r}L${at.x - r} ${at.y}Z`, ...style })
        : svg("circle", { class: "shape", cx: at.x, cy: at.y, r, ...style }),
    );
    if (wrong && r > 6) group.append(svg("text", { x: at.x, y: at.y + 4, "text-anchor": "middle", class: "bold", fill: css(inkOn(tone)) }, "×"));
    const hit = { x: at.x - at.room / 2, y: at.y - most - 2, width: at.room, height: 2 * most + 18 };
    group.append(svg("rect", { ...hit, fill: "none", "pointer-events": "all" })); // easier to hit than a dot
    const text = fitted(label(node), at.room - 4);
    if (text) group.append(svg("text", { x: at.x, y: at.y + most + 13, "text-anchor": "middle", class: "label halo" }, text));
    return group;
  }

  /** Shorten a text to a width in pixels; nothing if too little of it would be left. */
  function fitted(text, room) {
    const count = Math.floor(room / 6.7);
    const letters = [...text];
    if (letters.length <= count) return text;
    return count >= 5 && 1.5 * count >= letters.length ? `${letters.slice(0, count - 1).join("")}…` : "";
  }

  function edge(number, side, at, places) {
    const node = shown.nodes[number];
    const child = node[side];
    const from = places.get(child);
    if (child === null || !from) return [];
    const share = node.attention?.[side] ?? null;
    const path = `M${from.x} ${from.y}V${(from.y + at.y) / 2}L${at.x} ${at.y}`;
    const words = share === null ? [] : [tip(`attention to the ${side} child: ${percent(share)}`)];
    return [svg("path", { class: "edge", "data-edge": `${number} ${child}`, d: path, "stroke-width": share === null ? 1.5 : 0.8 + 5 * share }, ...words)];
  }

  /** Draw nodes as cells over their leaves; where they are too narrow, one cell tells the mean of several. */
  function cells(entries, size, x, wide, y, high, kind = "node") {
    const group = Math.max(1, Math.ceil(CELL / (size * wide)));
    return range(0, Math.ceil(entries.length / group)).map((place) => {
      const some = entries.slice(place * group, (place + 1) * group);
      const numbers = some.map(([number]) => number).filter((number) => number !== null);
      const values = numbers.map((number) => measures[state.measure].of(shown.nodes[number]));
      const verdict = measures[state.measure].scale === "verdict";
      const value = verdict && values.includes(0) ? 0 : mean(values);
      const [first, last] = [some[0][1].first, some.at(-1)[1].last];
      const width = Math.max(0.5, x(last + 1) - x(first) - (size * wide > 6 ? 1 : 0));
      const tone = colour(value, state.measure) ?? palette.line;
      const key = some.length > 1 ? { "data-first": first, "data-last": last } : kind === "chunk" ? { "data-chunk": first } : { "data-node": some[0][0] };
      const words = some.length > 1 ? `${span("chunk", first, last)}: mean of ${some.length}, ${digits(value)}` : `${span("chunk", first, last)}: ${digits(value)}`;
      const box = svg("rect", { class: "shape", x: x(first), y, width, height: high, rx: Math.min(4, width / 4), fill: css(tone) });
      const cell = svg("g", { class: "node", ...key }, tip(words), box);
      const text = some.length > 1 || some[0][0] === null ? "" : fitted(label(shown.nodes[some[0][0]]), width - 4);
      if (text) cell.append(svg("text", { x: x(first) + width / 2, y: y + high / 2 + 4, "text-anchor": "middle", class: "label", fill: css(inkOn(tone)) }, text));
      return cell;
    });
  }

  const tokensInView = () => range(state.from * shown.chunk, Math.min(shown.tokens.length, state.to * shown.chunk));

  function bars(x, wide, y) {
    const each = wide / shown.chunk;
    const group = Math.max(1, Math.ceil(2 / each));
    const start = state.from * shown.chunk;
    const inView = tokensInView();
    return range(0, Math.ceil(inView.length / group)).flatMap((place) => {
      const some = inView.slice(place * group, (place + 1) * group);
      const value = mean(some.map((token) => shown.tokens[token].loss));
      if (value === null) return [];
      const wrong = shown.kind === "words" && some.some((token) => shown.tokens[token].correct === false);
      const height = Math.max(1, (44 * value) / shown.worst);
      const left = x(state.from) + (some[0] - start) * each;
      const width = Math.max(0.6, some.length * each - (each > 4 ? 1 : 0));
      const chunk = Math.floor(some[0] / shown.chunk);
      const bar = svg("rect", { class: "shape", x: left, y: y + 44 - height, width, height, fill: css(palette[wrong ? "bad" : "tone0"]) });
      return [svg("g", { class: "node bar", "data-chunk": chunk }, tip(`${span("token", some[0], some.at(-1))}: ${digits(value)} nats`), bar)];
    });
  }

  function tokenLabels(marks, x, wide, y) {
    const each = wide / shown.chunk;
    if (each < 7) return y;
    const start = state.from * shown.chunk;
    const texts = tokensInView().map((token) => [token, fitted(name(shown.tokens[token].id), each - 1)]);
    for (const [token, text] of texts)
      marks.append(svg("text", { class: "label", x: x(state.from) + (token - start + 0.5) * each, y: y + 12, "text-anchor": "middle" }, text));
    return texts.some(([, text]) => text) ? y + 18 : y;
  }

  function legend(room) {
    const key = state.measure;
    const found = ends(key);
    if (!found) return [];
    const words = svg("text", { class: "title", x: 6, y: 16 }, measures[key].name);
    const bar = Math.min(120, room / 3);
    const verdict = measures[key].scale === "verdict";
    const count = verdict ? 2 : 24;
    const steps = range(0, count).map((place) => {
      const value = found[0] + ((found[1] - found[0]) * place) / (count - 1);
      const tone = colour(verdict ? place : value, key);
      return svg("rect", { x: 6 + 44 + (place * bar) / count, y: 22, width: bar / count + 0.3, height: 10, fill: css(tone ?? palette.line) });
    });
    const [low, high] = verdict ? ["wrong", "right"] : found.map(digits);
    return [
      words,
      svg("text", { class: "tick", x: 6 + 40, y: 31, "text-anchor": "end" }, low),
      ...steps,
      svg("text", { class: "tick", x: 6 + 48 + bar, y: 31 }, high),
    ];
  }

  // ---- Choosing: what is chosen stays, what the pointer is over is told meanwhile

  function choose(node, chunk = null, spoken = false) {
    Object.assign(state, { node, chunk });
    mark();
    explain(node, chunk);
    drawTokens();
    if (spoken) $("spoken").textContent = $("values").innerText.replace(/\s+/g, " ").slice(0, 400);
    remember();
  }

  function mark() {
    const chosen = (group) => (state.chunk === null ? group.dataset.node === `${state.node}` : group.dataset.chunk === `${state.chunk}`);
    for (const group of $("map").querySelectorAll(".node")) group.classList.toggle("chosen", chosen(group));
    for (const line of $("map").querySelectorAll(".edge")) line.classList.toggle("lit", line.dataset.edge.split(" ")[0] === `${state.node}`);
  }

  function explain(number, chunk) {
    const rows = [];
    const add = (what, ...values) => rows.push(html("div", {}, html("dt", {}, what), html("dd", {}, ...values)));
    const node = number === null ? null : shown.nodes[number];
    const heading = chunk !== null ? `Chunk ${chunk}` : `Node ${number}: ${chunksOf(node)}`;
    if (chunk !== null) add("read with", node ? `the state of ${chunksOf(node)}, node ${number}` : "no state: nothing was before");
    if (node) describe(add, node, number);
    const at = chunk ?? (node && node.left === null ? node.first : null);
    const parts = [html("h2", {}, heading), html("dl", {}, ...rows)];
    if (at !== null) parts.push(html("h3", {}, `Likeliest ${shown.kind === "words" ? "answers" : "next tokens"} after chunk ${at}`), guesses(shown.chunks[at].next));
    if (node?.lens.length) parts.push(html("h3", {}, "Lens: the head on the state's last slot"), guesses(node.lens));
    $("values").replaceChildren(...parts);
  }

  function describe(add, node, number) {
    if (node.left !== null) {
      add("merged", `${chunksOf(shown.nodes[node.left])} with ${chunksOf(shown.nodes[node.right])}, in call ${node.call + 1} of ${shown.calls}`);
    } else add("leaf", `${span("token", node.first * shown.chunk, (node.first + 1) * shown.chunk - 1)}`);
    if (node.element !== null) {
      const verdict = node.correct ? "right" : `wrong, the product is ${name(node.product)}`;
      add("decodes to", `${name(node.element)}, `, html("b", { class: node.correct ? "good" : "bad" }, verdict));
    }
    add("size", digits(node.size));
    if (node.left !== null) {
      add("change", `${digits(node.from_left)} from the left, ${digits(node.from_right)} from the right child`);
      if (node.attention) add("attention", `${percent(node.attention.left)} left, ${percent(node.attention.right)} right`);
      if (node.layers.length > 1) add("by layer", node.layers.map(({ left }) => percent(left)).join(", "), " left");
      if (node.code !== null) add("code", shown.kind === "words" ? `${node.code}: ${name(node.code)}` : `${node.code}`);
    }
    const loss = shown.under(node, "loss", "told");
    if (loss !== null) add("loss below", `${digits(loss)} nats a token`);
    const answers = shown.under(node, "correct", "asked");
    if (answers !== null) add("answers below", `${percent(answers)} right`);
  }

  function guesses(list) {
    const rows = list.slice(0, 10).map(({ id, p }) => {
      const bar = html("i", { class: "bar" });
      bar.style.width = `${100 * Math.max(0, Math.min(1, p ?? 0))}%`;
      return html("li", {}, html("span", { class: "state" }, name(id)), html("span", {}, percent(p)), bar);
    });
    return html("ol", { class: "guesses" }, ...rows);
  }

  // ---- Tokens under the chosen node, each on a ground that tells its loss

  const MOST = 1024;
  function drawTokens() {
    const node = state.chunk === null && state.node !== null ? shown.nodes[state.node] : null;
    const [first, last] = node ? [node.first, node.last] : [state.chunk ?? 0, state.chunk ?? 0];
    const [start, stop] = [first * shown.chunk, Math.min(shown.tokens.length, (last + 1) * shown.chunk)];
    const drawn = range(start, Math.min(stop, start + MOST)).map((place) => {
      const { id, loss, correct, predicted, target } = shown.tokens[place];
      const words = `token ${place}: loss ${digits(loss)}; answer ${name(predicted)}${target === null ? "" : `, right is ${name(target)}`}`;
      const chip = html("span", { class: `token${correct === false && shown.kind === "words" ? " wrong" : ""}`, title: words }, name(id));
      if (loss !== null) chip.style.backgroundColor = css(mix(palette.card, palette.tone1, (0.5 * loss) / shown.worst));
      return chip;
    });
    const more = stop - start > MOST ? `, the first ${MOST} of them` : "";
    $("tokens-title").textContent = `${span("Token", start, stop - 1)}${more}`;
    $("tokens").replaceChildren(...drawn);
  }

  // ---- Tables, for those who would rather read; a page of rows at a time

  const ROWS = 100;
  const columns = {
    "nodes-table": {
      rows: () => shown.nodes,
      head: ["node", "chunks", "left", "right", "size", "from left", "from right", "attention left", "says", "right?", "loss below"],
      cells: (node, number) => [
        number, `${node.first}-${node.last}`, node.left ?? "", node.right ?? "", digits(node.size), digits(node.from_left), digits(node.from_right),
        node.attention ? percent(node.attention.left) : "–", label(node), node.correct === null ? "–" : node.correct ? "right" : "wrong",
        digits(shown.under(node, "loss", "told")),
      ],
    },
    "tokens-table": {
      rows: () => shown.tokens,
      head: ["place", "chunk", "token", "loss", "answer", "right is", "right?"],
      cells: ({ id, loss, predicted, target, correct }, place) => [
        place, Math.floor(place / shown.chunk), name(id), digits(loss), name(predicted), name(target), correct === null ? "–" : correct ? "right" : "wrong",
      ],
    },
  };

  function tabulate(id, start) {
    const place = $(id);
    if (!place.closest("details").open) return place.replaceChildren();
    const { rows, head, cells } = columns[id];
    const all = rows();
    const body = all.slice(start, start + ROWS).map((row, offset) => html("tr", {}, ...cells(row, start + offset).map((text) => html("td", {}, `${text}`))));
    const table = html("table", {}, html("thead", {}, html("tr", {}, ...head.map((text) => html("th", { scope: "col" }, text)))), html("tbody", {}, ...body));
    const turn = (words, to) => {
      const button = html("button", { type: "button" }, words);
      button.disabled = to < 0 || to >= all.length;
      button.addEventListener("click", () => tabulate(id, to));
      return button;
    };
    const where = ` ${all.length ? start + 1 : 0}-${Math.min(all.length, start + ROWS)} of ${all.length} `;
    return place.replaceChildren(html("p", {}, turn("◀ earlier", start - ROWS), where, turn("later ▶", start + ROWS)), html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": place.closest("details").firstChild.textContent }, table));
  }

  // ---- Moving: over the tree by arrows, and through the columns

  function move(key) {
    if (state.chunk !== null) {
      const to = state.chunk + { ArrowLeft: -1, ArrowRight: 1 }[key];
      if (key === "ArrowUp" && state.chunk < shown.leaves) return pick(state.chunk);
      return to >= 0 && to < shown.columns ? pickChunk(to) : undefined;
    }
    if (state.node === null) return pickChunk(0);
    const node = shown.nodes[state.node];
    const size = node.last - node.first + 1;
    if (key === "ArrowUp") return pick(shown.parents.get(state.node));
    if (key === "ArrowDown") return node.left === null ? pickChunk(node.first) : pick(node.left);
    return pick(shown.levels[node.level]?.[node.first / size + (key === "ArrowLeft" ? -1 : 1)]);
  }
  function pick(node) {
    if (node === undefined) return;
    reveal(shown.nodes[node].first, shown.nodes[node].last);
    choose(node, null, true);
  }
  function pickChunk(chunk) {
    reveal(chunk, chunk);
    choose(shown.chunks[chunk].prefix, chunk, true);
  }
  function reveal(first, last) {
    const width = state.to - state.from;
    if (last < state.from || first >= state.to) look(Math.floor((first + last + 1 - width) / 2), width);
  }
  function look(from, width) {
    const whole = Math.max(1, Math.min(shown.columns, Math.round(width)));
    const start = Math.max(0, Math.min(shown.columns - whole, Math.round(from)));
    Object.assign(state, { from: start, to: start + whole });
    draw();
  }
  function zoom(factor) {
    const width = Math.max(1, Math.round((state.to - state.from) * factor));
    const chosen = state.chunk !== null ? [state.chunk, state.chunk] : state.node !== null ? [shown.nodes[state.node].first, shown.nodes[state.node].last] : [0, 0];
    const middle = Math.max(state.from, Math.min(state.to - 1, (chosen[0] + chosen[1]) / 2)) + 0.5;
    look(middle - width / 2, width);
  }
  const slide = (share) => look(state.from + Math.sign(share) * Math.max(1, Math.round(Math.abs(share) * (state.to - state.from))), state.to - state.from);
  const whole = () => look(0, shown.columns);
  function closer() {
    if (state.chunk === null && state.node !== null) look(shown.nodes[state.node].first, shown.nodes[state.node].last - shown.nodes[state.node].first + 1);
  }

  // ---- The address

  const write = addressWriter();
  function remember() {
    const { measure, from, to, node, chunk } = state;
    const chosen = chunk !== null ? { chunk } : node !== null ? { node } : {};
    write(`#${new URLSearchParams({ measure, from, to, ...chosen })}`);
  }

  /** Follow an address as far as it makes sense for this trace. */
  function restore() {
    const parts = new URLSearchParams(location.hash.slice(1));
    const whole = (key, stop) => (/^\d{1,6}$/.test(parts.get(key) ?? "") && +parts.get(key) < stop ? +parts.get(key) : null);
    if ([...$("measure").options].some(({ value }) => value === parts.get("measure"))) $("measure").value = state.measure = parts.get("measure");
    const [from, to] = [whole("from", shown.columns), whole("to", shown.columns + 1)];
    const [node, chunk] = [whole("node", shown.nodes.length), whole("chunk", shown.columns)];
    if (from !== null && to !== null && from < to) Object.assign(state, { from, to });
    draw();
    if (chunk !== null) choose(shown.chunks[chunk].prefix, chunk);
    else if (node !== null) choose(node);
  }

  // ---- Saving the drawing: colours are in it already, and what the style sheet adds is written into it

  const styled = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-family", "font-weight", "paint-order"];
  function picture() {
    const drawing = $("map").querySelector("svg");
    const copy = drawing.cloneNode(true);
    const originals = drawing.querySelectorAll("*");
    copy.querySelectorAll("*").forEach((element, place) => {
      const style = getComputedStyle(originals[place]);
      if (element.tagName !== "g" && element.tagName !== "title") for (const key of styled) element.setAttribute(key, style.getPropertyValue(key));
      for (const key of ["class", "data-node", "data-chunk", "data-edge", "data-first", "data-last"]) element.removeAttribute(key);
    });
    copy.prepend(svg("rect", { width: "100%", height: "100%", fill: css(palette.card) }));
    copy.removeAttribute("class");
    copy.removeAttribute("aria-hidden");
    return new XMLSerializer().serializeToString(copy);
  }
  function save(blob, ending) {
    const link = html("a", { href: URL.createObjectURL(blob), download: `scannable-trace.${ending}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
  function savePng() {
    const image = new Image();
    image.onload = () => {
      const canvas = html("canvas", { width: 2 * image.width, height: 2 * image.height });
      const context = canvas.getContext("2d");
      context.scale(2, 2);
      context.drawImage(image, 0, 0);
      canvas.toBlob((blob) => save(blob, "png"), "image/png");
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(picture())}`;
  }

  // ---- Controls

  $("file").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    if (!file) return;
    if (file.size > limits.bytes) return tell("notice", `A trace may have ${limits.bytes.toLocaleString("en")} bytes, got ${file.size.toLocaleString("en")}; trace a shorter input.`);
    const reader = new FileReader();
    reader.onerror = () => tell("notice", `A trace must be a file that can be read, got an error; ${cure}`);
    reader.onload = () => {
      const found = readTrace(reader.result);
      tell("notice", typeof found === "string" ? found : "");
      if (typeof found !== "string") show(found);
    };
    reader.readAsText(file);
  });
  $("measure").addEventListener("change", ({ target }) => {
    state.measure = target.value;
    draw();
  });
  const actions = { whole, in: () => zoom(0.5), out: () => zoom(2), earlier: () => slide(-0.5), later: () => slide(0.5), closer, svg: () => save(new Blob([picture()], { type: "image/svg+xml" }), "svg"), png: savePng };
  for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", act);

  const over = (event) => event.target.closest(".node")?.dataset;
  $("map").addEventListener("pointerover", (event) => {
    const found = over(event);
    if (found?.node !== undefined) explain(+found.node, null);
    else if (found?.chunk !== undefined) explain(shown.chunks[+found.chunk].prefix, +found.chunk);
    else explain(state.node, state.chunk);
  });
  $("map").addEventListener("pointerleave", () => explain(state.node, state.chunk));
  $("map").addEventListener("click", (event) => {
    const found = over(event);
    if (found?.node !== undefined) choose(+found.node);
    else if (found?.chunk !== undefined) choose(shown.chunks[+found.chunk].prefix, +found.chunk);
    else if (found?.first !== undefined) {
      const middle = (+found.first + +found.last + 1) / 2;
      const width = Math.max(8, (state.to - state.from) / 4);
      look(middle - width / 2, width);
    }
  });
  $("map").addEventListener("dblclick", closer);
  $("map").addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const keys = { "+": actions.in, "=": actions.in, "-": actions.out, 0: whole, Enter: closer };
    const act = event.key.startsWith("Arrow") ? () => move(event.key) : Object.hasOwn(keys, event.key) ? keys[event.key] : null;
    if (!act) return;
    event.preventDefault();
    act();
  });
  for (const id of ["nodes-table", "tokens-table"]) $(id).closest("details").addEventListener("toggle", () => tabulate(id, 0));
  const redraw = () => {
    draw();
    drawTokens();
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(() => {
    if ($("map").clientWidth !== shown.drawnWidth) draw();
  }).observe($("map"));

  show(given);
  if (location.hash.length > 1) restore();
  window.addEventListener("hashchange", restore);
})();
