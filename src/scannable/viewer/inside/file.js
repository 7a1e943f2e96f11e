// Reading a trace that anybody may have written: the same rules as in Python, from the library's own schema.
const { trace: given, schema, limits } = JSON.parse($("data").textContent);

const cure = "give a file that scannable wrote, as it was.";
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const word = (value) => (typeof value === "string" ? JSON.stringify(value) : `${value}`).slice(0, 40);
const brief = (value) => (Array.isArray(value) ? "a list" : isObject(value) ? "an object" : word(value));
const fits = {
  whole: (value) => Number.isSafeInteger(value) && value >= 0,
  number: Number.isFinite,
  text: (value) => typeof value === "string",
  flag: (value) => typeof value === "boolean",
};

/** Return a trace, or a sentence on why it is none. */
function readTrace(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    return `A trace must be JSON, got something else; ${cure}`;
  }
  const format = found?.format;
  if (format !== limits.format) return `A trace must have format ${limits.format}, got ${brief(format)}; ${cure}`;
  const wrong = misfit(found, schema, "the trace");
  if (wrong) return `The trace must have ${wrong}; ${cure}`;
  const reason = broken(found);
  return reason ? `A trace must be a tree over its tokens, got ${reason}; ${cure}` : found;
}

/** Compare a value with its part of the schema, and tell what does not fit. */
function misfit(value, wanted, place) {
  const refused = (rule) => `${rule} at ${place}, got ${brief(value)}`;
  const within = (entries) => {
    for (const [inner, part, name] of entries) {
      const wrong = misfit(inner, part, `${place}${name}`);
      if (wrong) return wrong;
    }
    return "";
  };
  if (typeof wanted === "string") {
    const kind = wanted.replace("?", "");
    return fits[kind](value) || (kind !== wanted && value === null) ? "" : refused(`a ${kind}`);
  }
  if (Array.isArray(wanted)) {
    if (!Array.isArray(value)) return refused("a list");
    return within(value.map((entry, number) => [entry, wanted[0], `[${number}]`]));
  }
  if ("?" in wanted) return value === null ? "" : misfit(value, wanted["?"], place);
  const names = Object.keys(wanted);
  const all = isObject(value) && names.every((name) => Object.hasOwn(value, name));
  if (!all || Object.keys(value).length !== names.length) return refused(`an object with ${names.join(", ")}`);
  return within(names.map((name) => [value[name], wanted[name], `.${name}`]));
}

/** Say what keeps the nodes from being a tree over the tokens; nothing if all is well. */
function broken({ kind, leaves, chunk, tokens, nodes, chunks }) {
  if (!limits.kinds.includes(kind)) return `the kind ${brief(kind)}`;
  if (leaves > limits.leaves || nodes.length < leaves || nodes.length > 3 * limits.leaves)
    return `${leaves} leaves and ${nodes.length} nodes`;
  if (tokens.length <= leaves * chunk || tokens.length > (leaves + 1) * chunk)
    return `${tokens.length} tokens for ${leaves} leaves in chunks of ${chunk}`;
  const wrong = nodes.findIndex(({ left, right, level, first, last }, number) => {
    if (number < leaves) return left !== null || right !== null || level || first !== number || last !== number;
    if (left === null || right === null || left >= number || right >= number) return true;
    const [one, other] = [nodes[left], nodes[right]];
    const joined = one.first === first && one.last + 1 === other.first && other.last === last;
    return !joined || level !== 1 + Math.max(one.level, other.level);
  });
  if (wrong >= 0) return `node ${wrong}, which does not cover what its children cover`;
  const isPrefix = ({ prefix }, place) =>
    prefix === null ? place === 0 : nodes[prefix]?.first === 0 && nodes[prefix].last === place - 1;
  const read = chunks.length === leaves + 1 && chunks.every(isPrefix);
  return read ? "" : "chunks that are not read with the state of all before them";
}
