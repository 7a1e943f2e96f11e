// The binary counter: its digits, its roots and folds, and the merges of every chunk.

const binary = (count) => count.toString(2);

function drawCounter() {
  const { frame, length, streamed } = view;
  const { chunks, part, left, right } = frame;
  const { roots, folds } = chunks ? plan.pushes[chunks - 1] : { roots: [], folds: [] };
  const at = (nodes, level) => (level < part ? null : (nodes[level] ?? null)); // a carry has passed some digits
  const levels = range(0, binary(length).length).reverse();
  const digits = levels.map((level) => (at(roots, level) === null ? html("b", "0") : html("b.one", "1")));
  const waits = part === null ? "" : `, and ${named(part ? left[0] : chunks)} to put down`;
  const cell = (node) => {
    if (node === null) return html("td", "–");
    const fresh = part === null && (right.includes(node) || node === chunks - 1);
    return html(fresh ? "td.fresh" : "td", named(node), written(streamed[node]));
  };
  const rows = levels.map((level) => {
    const head = html("th", { scope: "row" }, level ? `${2 ** level}s` : "1");
    return [head, cell(at(roots, level)), cell(at(folds, level))];
  });
  const row = html("div.digits", ...digits, counted(chunks, "chunk") + waits);
  $("counter").replaceChildren(row, table(["digit", "root", "fold"], rows));
  $("counter").hidden = view.form === "parallel";
}

function drawLedger() {
  const { length, form } = view;
  const bits = binary(length).length;
  view.chips = [];
  view.rows = plan.pushes.slice(0, length).map(({ carries, fold, refolds }, chunk) => {
    const chip = (node, what, words) => {
      const title = `${words}: ${paired(node)}`;
      const drawn = html(`span.chip.${what}`, { title }, operands(node).map(short).join("·"));
      view.chips.push({ chip: drawn, node, chunk, again: what === "again" });
      return drawn;
    };
    const again = state.refold ? refolds.filter((node) => node !== fold) : [];
    const chips = [
      ...carries.map((node) => chip(node, "up", "carry")),
      ...again.map((node) => chip(node, "again", "folded again")),
      fold !== null && chip(fold, "down", "fold"),
    ];
    const count = `${`${chunk + 1}`.padStart(2)} = ${binary(chunk + 1).padStart(bits, "0")}`;
    return html("li", html("span.count", count), html("span.chips", ...chips));
  });
  $("ledger").className = form === "parallel" ? "tall" : "";
  $("ledger").replaceChildren(html("ol", ...view.rows));
}

function lightLedger() {
  const { frame, form, chips, rows } = view;
  const done = doneOn("right");
  for (const { chip, node, again, chunk } of chips) {
    // A fold of all roots comes right after the chunk, and makes again what was there.
    chip.classList.toggle("done", again ? chunk < frame.chunks : done.has(node));
    chip.classList.toggle("now-node", !again && frame.right.includes(node));
  }
  const current = form === "parallel" ? -1 : frame.chunks - (frame.part === null);
  rows.forEach((row, chunk) => row.classList.toggle("current", chunk === current));
  const box = $("ledger");
  if (current >= 0) box.scrollTop = rows[current].offsetTop - box.clientHeight / 2;
}
