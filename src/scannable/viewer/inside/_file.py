"""Traces as files: what one must look like, before anything of it is shown."""

from typing import Any

from scannable.viewer._json import CURE, parsed

FORMAT = 1
"""Which form of record this is; another number means another form."""

LEAVES = 1024
"""How many leaves a trace may have."""

GUESS = {"id": "whole", "p": "number?"}
SHARES = {"left": "number?", "right": "number?"}
NODE = {
    "left": "whole?",
    "right": "whole?",
    "level": "whole",
    "first": "whole",
    "last": "whole",
    "call": "whole?",
    "size": "number?",
    "from_left": "number?",
    "from_right": "number?",
    "attention": {"?": SHARES},
    "layers": [SHARES],
    "element": "whole?",
    "product": "whole?",
    "correct": "flag?",
    "code": "whole?",
    "lens": [GUESS],
}
TOKEN = {"id": "whole", "target": "whole?", "predicted": "whole", "correct": "flag?", "loss": "number?"}
SCHEMA: dict[str, Any] = {
    "format": "whole",
    "kind": "text",
    "title": "text",
    "model": {"name": "text", "aggregator": "text", "parameters": "whole", "codebook": "flag"},
    "chunk": "whole",
    "leaves": "whole",
    "names": [{"id": "whole", "text": "text"}],
    "tokens": [TOKEN],
    "nodes": [NODE],
    "chunks": [{"prefix": "whole?", "next": [GUESS]}],
}
"""Names and kinds of values: a list holds any number of its one entry, and a question mark allows null."""

KIND = ("words", "text", "ids")
KINDS = {"whole": (int,), "number": (int, float), "text": (str,), "flag": (bool,)}


def read_trace(text: str) -> dict[str, Any]:
    """Read a trace from JSON that anybody may have written.

    Raises:
        ValueError: If it is too large, not JSON, of another format, or no tree over its tokens.
    """
    return check_trace(parsed(text, "trace"))


def check_trace(found: Any) -> dict[str, Any]:
    """Return a trace if it is one.

    Raises:
        ValueError: If it is of another format, or no tree over its tokens.
    """
    number = found.get("format") if isinstance(found, dict) else None
    if number != FORMAT:
        raise ValueError(f"A trace must have format {FORMAT}, got {repr(number)[:40]}; {CURE}.")
    _check(found, SCHEMA, "the trace")
    wrong = _broken(found)
    if wrong:
        raise ValueError(f"A trace must be a tree over its tokens, got {wrong}; {CURE}.")
    return found


def _check(value: Any, schema: Any, place: str) -> None:
    """Compare a value with its part of the schema."""
    if isinstance(schema, dict) and "?" in schema:
        if value is None:
            return
        schema = schema["?"]
    if isinstance(schema, dict):
        if not isinstance(value, dict) or value.keys() != schema.keys():
            raise _refusal(place, f"an object with {', '.join(schema)}", value)
        for name, inner in schema.items():
            _check(value[name], inner, f"{name} of {place}")
    elif isinstance(schema, list):
        if not isinstance(value, list):
            raise _refusal(place, "a list", value)
        for number, entry in enumerate(value):
            _check(entry, schema[0], f"entry {number} of {place}")
    else:
        kind = schema.rstrip("?")
        if value is None and kind != schema:
            return
        if type(value) not in KINDS[kind] or (kind == "whole" and not 0 <= value < 2**53):
            raise _refusal(place, f"a {kind}", value)


def _broken(found: dict[str, Any]) -> str:
    """Say what keeps the nodes from being a tree over the tokens; nothing if all is well."""
    leaves, chunk, nodes = found["leaves"], found["chunk"], found["nodes"]
    if found["kind"] not in KIND:
        return f"the kind {found['kind'][:40]!r}"
    if leaves > LEAVES or not leaves <= len(nodes) <= 3 * LEAVES:
        return f"{leaves:,} leaves and {len(nodes):,} nodes, where {LEAVES:,} leaves may be"
    if not leaves * chunk < len(found["tokens"]) <= (leaves + 1) * chunk:
        return f"{len(found['tokens']):,} tokens for {leaves:,} leaves in chunks of {chunk:,}"
    for number, node in enumerate(nodes):
        if not (_leaf(node, number) if number < leaves else _merge(node, number, nodes)):
            return f"node {number}, which does not cover what its children cover"
    prefixes = [entry["prefix"] for entry in found["chunks"]]
    if len(prefixes) != leaves + 1 or not all(_prefix(*entry, nodes) for entry in enumerate(prefixes)):
        return "chunks that are not read with the state of all before them"
    return ""


def _leaf(node: dict[str, Any], number: int) -> bool:
    return (node["left"], node["right"], node["level"]) == (None, None, 0) and node["first"] == node[
        "last"
    ] == number


def _merge(node: dict[str, Any], number: int, nodes: list[dict[str, Any]]) -> bool:
    if any(child is None or child >= number for child in (node["left"], node["right"])):
        return False
    left, right = nodes[node["left"]], nodes[node["right"]]
    return (left["first"], left["last"] + 1, right["last"], 1 + max(left["level"], right["level"])) == (
        node["first"],
        right["first"],
        node["last"],
        node["level"],
    )


def _prefix(chunk: int, number: int | None, nodes: list[dict[str, Any]]) -> bool:
    if number is None:
        return chunk == 0
    return number < len(nodes) and (nodes[number]["first"], nodes[number]["last"]) == (0, chunk - 1)


def _refusal(place: str, rule: str, value: Any) -> ValueError:
    return ValueError(f"{place[:1].upper()}{place[1:]} must be {rule}, got {repr(value)[:60]}; {CURE}.")
