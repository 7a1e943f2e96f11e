"""Laws of one operator: what its identity must be, and how far it is from associative."""

import torch
from torch import Tensor

from scannable.scans import Aggregator, Counter, State, scan
from scannable.scans._tree import along, arranged, flatten, form, tree_map, unflatten
from scannable.testing._report import Finding, Report, Value, asserting
from scannable.testing._subject import (
    TINY,
    apart,
    cast,
    check_states,
    describe,
    explaining_dtypes,
    finite,
    furthest,
    own,
    replica,
    same,
)


def check_identity(aggregator: Aggregator, like: State) -> Report:
    """Check that the empty prefix has the form of a state, and depends on nothing but that form.

    Whether the identity is also neutral is told for information: ``combine`` is never called with it.

    Args:
        aggregator: The operator.
        like: One state, ``(B, ...)``.
    """
    check_states(tree_map(lambda x: x[:, None], like))
    aggregator, like = replica(aggregator), own(like)
    with torch.no_grad():
        empty = _identity(aggregator, like)
        findings = [_compare_forms(empty, like)]
        if findings[0].passed:
            other = tree_map(lambda x: ~x if x.dtype == torch.bool else x + 1, like)
            row = tree_map(lambda x: x[:1], like)
            leaf = tree_map(lambda x: x[:, None], like)
            prefix = along(scan(aggregator, leaf), 0)
            first = tree_map(lambda x: x[:1], empty)
            facts = {
                "the same when asked again": same(_identity(aggregator, like), empty),
                "independent of the values in `like`": same(_identity(aggregator, other), empty),
                "the same for a batch of one": same(_identity(aggregator, row), first),
                "what a scan gives for no leaves": same(prefix, empty),
                "what a counter gives for no leaves": same(Counter.empty(aggregator, like).prefix, empty),
            }
            findings += [Finding.holds(what, fact) for what, fact in facts.items()]
            findings += _neutrality(aggregator, empty, like)
    return Report(law="identity", subject=describe(aggregator, like), findings=tuple(findings))


def check_associative(aggregator: Aggregator, leaves: State, *, tolerance: float = 1e-12) -> Report:
    """Measure how far ``combine(combine(a, b), c)`` is from ``combine(a, combine(b, c))``.

    The triples are neighbours, taken from the leaves in float64. Deviations are relative, by norm, for
    each triple and each tensor of the state; rounding alone gives a few times 2e-16. A scan does not need
    this law: without it, the bracketing is part of the model's definition.

    Args:
        aggregator: The operator; a copy of it in float64 is measured.
        leaves: States ``(B, N, ...)`` with ``N >= 3``.
        tolerance: The largest deviation of an operator that is called associative.
    """
    check_states(leaves, length=3)
    subject = describe(aggregator, leaves)
    aggregator, leaves = replica(aggregator, torch.float64), cast(leaves, torch.float64)
    tensors, structure = flatten(leaves)
    length = tensors[0].shape[1]
    a, b, c = (
        unflatten([x[:, i : length - 2 + i].flatten(0, 1) for x in tensors], structure) for i in range(3)
    )
    with torch.no_grad(), explaining_dtypes(aggregator):
        forward = _merge(aggregator, _merge(aggregator, a, b), c)
        backward = _merge(aggregator, a, _merge(aggregator, b, c))
    deviations = torch.stack(
        [_by_row(x, y) for x, y in zip(flatten(forward)[0], flatten(backward)[0], strict=True)]
    ).amax(0)
    findings = (
        Finding.at_most("largest deviation", float(deviations.max()), tolerance),
        Finding(what="median deviation", measured=float(deviations.median())),
        Finding(what="triples", measured=deviations.numel()),
        Finding(what="float64 rounding", measured=torch.finfo(torch.float64).eps),
    )
    return Report(law="associativity", subject=subject, findings=findings)


assert_identity = asserting(check_identity)
assert_associative = asserting(check_associative)


def _compare_forms(empty: State, like: State) -> Finding:
    (found, structure), (tensors, expected) = flatten(empty), flatten(like)
    alike = structure == expected and form(found) == form(tensors)
    got, bound = ("that of a state",) * 2 if alike else (_text(*flatten(x)) for x in (empty, like))
    return Finding(what="form", measured=got, bound=f"= {bound}", passed=alike)


def _text(tensors: list[Tensor], structure: object) -> str:
    return " ".join(f"{', '.join(form(tensors))} in {structure}".split())


def _neutrality(aggregator: Aggregator, empty: State, like: State) -> list[Finding]:
    """Measure how far combine(identity, x) and combine(x, identity) are from x, where they are defined."""
    findings = []
    for side, operands in (("left", (empty, like)), ("right", (like, empty))):
        measured: Value
        try:
            measured = furthest(_merge(aggregator, *operands), like)
        except (RuntimeError, TypeError, ValueError, IndexError):
            measured = "combine refuses it"
        findings.append(Finding(what=f"as {side} operand, relative distance from neutral", measured=measured))
    return findings


def _identity(aggregator: Aggregator, like: State) -> State:
    return arranged(aggregator.identity(like), like)


def _merge(aggregator: Aggregator, left: State, right: State) -> State:
    """Merge copies, so that an operator that writes into its operands is measured by what it returns."""
    return arranged(aggregator.combine(own(left), own(right)), left)


def _by_row(x: Tensor, y: Tensor) -> Tensor:
    """Measure the relative distance of each row; a NaN on one side only counts as infinitely far."""
    x, y = (z.unsqueeze(-1).flatten(1) for z in (x, y))
    scale = torch.maximum(finite(x).norm(dim=1), finite(y).norm(dim=1)).clamp_min(TINY)
    return (apart(x, y).norm(dim=1) / scale).nan_to_num(nan=torch.inf, posinf=torch.inf)
