// The state of the page, its address, and its controls.

let state = null;
let view = null; // what follows from the state

/** The merges that are made by now, as one side shows them. */
const doneOn = (side) => new Set(view.frames.slice(0, state.step + 1).flatMap((frame) => frame[side]));

// ---- The address

function addressParts() {
  const { operator, own, length, form, step, refold } = state;
  return { operator, ...(own ? { leaves: own.join(" ") } : { n: length }), form, step, ...(refold && { refold: 1 }) };
}

/** Read an address; a sentence where it says what cannot be. */
function readAddress(hash) {
  const parts = [...new URLSearchParams(hash.slice(1))];
  const names = parts.map(([name]) => name);
  const instead = "; here is the page as it begins.";
  const refused = (rule, got) => `The address must have ${rule}, got "${`${got}`.slice(0, 60)}"${instead}`;
  const amount = parts.join().length;
  if (amount > 6000) return refused("at most 6000 characters", amount);
  const twice = names.find((name, place) => names.indexOf(name) < place);
  if (twice !== undefined) return refused("each name once", twice);
  const odd = names.find((name) => !["operator", "n", "leaves", "form", "step", "refold"].includes(name));
  if (odd !== undefined) return refused("operator, n or leaves, form, step, refold", odd);
  const { operator = "text", form = "both", n, leaves, step = "0", refold } = Object.fromEntries(parts);
  if (!choice(operator)) return refused(`operator as one of ${operators.map(({ key }) => key).join(", ")}`, operator);
  if (!forms.includes(form)) return refused(`form as one of ${forms.join(", ")}`, form);
  if (![undefined, "1"].includes(refold)) return refused("refold as 1, or not at all", refold);
  const length = n === undefined ? FEW : readWhole(n, 1, plan.longest);
  if (length === null) return refused(`n as a whole number from 1 to ${plan.longest}`, n);
  if (n !== undefined && leaves !== undefined) return refused("n or leaves, one of them", "both");
  const own = leaves === undefined ? null : readLeaves(leaves, operator);
  if (typeof own === "string") return own.replace(/\.$/, instead);
  const last = timeline(form, own?.length ?? length).length - 1;
  if (readWhole(step, 0, last) === null) return refused(`step as a whole number from 0 to ${last}`, step);
  return { operator, length, own, form, step: +step, refold: refold === "1" };
}

function restore(hash) {
  const found = readAddress(hash);
  const refused = typeof found === "string";
  tell("notice", refused ? found : "");
  state = refused ? readAddress("") : found;
  rebuild();
}

// ---- Putting it together

/** Compute what follows from the operator, the leaves and the form, and draw what stays for all steps. */
function rebuild() {
  const { operator, form, refold } = state;
  const words = state.own ?? choice(operator).leaves.slice(0, state.length);
  const { length } = words;
  const parallel = plan.parallel[length - 1];
  const frames = timeline(form, length);
  view = { form, length, parallel, frames, last: frames.length - 1 };
  Object.assign(view, {
    states: run(parallel.calls.flat(), words, operator),
    streamed: run(plan.pushes.slice(0, length).flatMap(made), words, operator),
    plain: run(plan.plain.slice(1, length), words, operator),
  });
  $("operator").value = operator;
  $("length").value = length;
  $("length-shown").textContent = length;
  $("leaves").value = words.join(" ");
  $("leaves").removeAttribute("aria-invalid");
  tell("problem", "");
  const { merge, law, typed } = choice(operator);
  $("typed").textContent = `left · right = ${merge}. ${law} ${typed}`;
  $("refold").checked = refold;
  for (const button of document.getElementsByName("form")) button.checked = button.value === form;
  $("scrub").max = view.last;
  drawTree();
  drawLedger();
  go(state.step);
}

/** Show one step. */
function go(step) {
  state.step = Math.max(0, Math.min(view.last, step));
  view.frame = view.frames[state.step];
  $("scrub").value = state.step;
  $("scrub").setAttribute("aria-valuetext", `step ${state.step} of ${view.last}`);
  $("step-shown").textContent = `${state.step} of ${view.last}`;
  $("words").textContent = sentence();
  for (const id of ["first", "back"]) $(id).setAttribute("aria-disabled", state.step === 0);
  for (const id of ["next", "last"]) $(id).setAttribute("aria-disabled", state.step === view.last);
  lightTree();
  drawCounter();
  lightLedger();
  drawEquations();
  drawCounts();
  drawPrefixes();
  writeAddress(addressParts());
}

/** Change what is scanned, or how; the steps begin anew. */
function change(changes) {
  pause();
  tell("notice", "");
  Object.assign(state, { step: 0 }, changes);
  rebuild();
}

// ---- Playing

let timer = 0;
function setPlaying(playing) {
  clearTimeout(timer);
  timer = playing ? setTimeout(tick, 1000 * $("speed").value) : 0;
  $("play").textContent = playing ? "❚❚ pause" : "▶ play";
  for (const name of ["aria-label", "title"]) $("play").setAttribute(name, playing ? "Pause" : "Play");
  $("words").setAttribute("aria-live", playing ? "off" : "polite"); // nobody could listen that fast
}
function tick() {
  go(state.step + 1);
  setPlaying(state.step < view.last);
}
const pause = () => setPlaying(false);
function toggle() {
  if (!timer && state.step === view.last) go(0);
  setPlaying(!timer && view.last > 0);
}

// ---- Controls

/** Change one thing when a control changes. */
const listen = (element, type, changes) => element.addEventListener(type, ({ target }) => change(changes(target)));
listen($("operator"), "change", ({ value }) => ({ operator: value, own: null, length: FEW }));
listen($("length"), "input", ({ value }) => ({ own: null, length: +value }));
listen($("refold"), "change", ({ checked }) => ({ refold: checked, step: state.step }));
for (const button of document.getElementsByName("form")) listen(button, "change", ({ value }) => ({ form: value }));
$("leaves").addEventListener("change", ({ target }) => {
  const own = readLeaves(target.value, state.operator);
  if (Array.isArray(own)) return change({ own });
  target.setAttribute("aria-invalid", "true");
  return tell("problem", own);
});

const to = (place) => () => {
  pause();
  go(place());
};
const moves = {
  first: to(() => 0),
  back: to(() => state.step - 1),
  next: to(() => state.step + 1),
  last: to(() => view.last),
};
for (const [id, move] of Object.entries({ ...moves, play: toggle })) $(id).addEventListener("click", move);
$("scrub").addEventListener("input", to(() => +$("scrub").value));
onKeys(
  document,
  { ArrowLeft: moves.back, ArrowRight: moves.next, Home: moves.first, End: moves.last, " ": toggle },
  ({ key, target }) => target.closest(`input, select, [role=region]${key === " " ? ", button, summary" : ""}`),
);
onAddress((hash) => {
  pause();
  restore(hash);
});
restore(location.hash);
onResize($("tree"), () => {
  drawTree();
  lightTree();
});
