"""The law this library is named after: the parallel and the streaming form compute one function."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scannable.scans import State
from scannable.scans._tree import flatten, tree_map, unflatten
from scannable.testing._forms import Form, Forms, aggregator_forms, at, model_forms, shared
from scannable.testing._report import Finding, Report, Value, asserting, worst
from scannable.testing._rounding import RATIO, rounding
from scannable.testing._subject import (
    Subject,
    cast,
    check_states,
    check_tokens,
    describe,
    explaining_dtypes,
    is_aggregator,
    largest,
    own,
    relative,
    replica,
    same,
)

EXACT = 1e-12
"""In float64, by norm: rounding stays four orders below, a wrong bracket twelve orders above."""

LARGEST = 1e-4
"""In float32: the largest error in units of the largest value."""

TIE = 1e-6
"""Two logits closer than this part of the largest are a tie, and either may be the prediction."""


@dataclass(frozen=True, kw_only=True)
class DualityReport(Report):
    """A report whose table has one row for each way of reading the input."""

    @property
    def difference(self) -> Value:
        """The largest relative distance of any form from the first, in float64."""
        return self["float64: largest relative distance"]


def check_duality(
    subject: Subject, inputs: State, *, gradients: bool = False, seed: int = 0
) -> DualityReport:
    """Check that the parallel and the streaming form are one function, on copies of the subject.

    A model is called on all tokens, and streamed: token by token, in one ``prefill``, and in pieces of
    many sizes that begin and end away from multiples of its chunk. The leaves of an aggregator are
    scanned, inclusive and exclusive, pushed to a counter, and extended from several splits; there the
    definition, ``scans.reference``, is what the others are compared with.

    In float64 every form must agree by norm to 1e-12, integers exactly; what has one value throughout, such as
    masked logits, has no part in what errors are compared with. In float32 each is compared with the float64
    result of the parallel form: the root mean square error of streaming may be at most 1.5 times that of
    the parallel form, and no error larger than 1e-4 of the largest value. A parallel error under 1e-7 of the
    largest value counts as 1e-7, since below one unit in the last place the ratio is noise over
    noise. A ratio above 1.5 is taken again, of 32 roundings together, with weights and inputs moved by a
    millionth: where few errors are amplified, one rounding says little. The predictions of a model must be
    those of float64, but where its two best logits are closer than 1e-6 of the largest; where its tokens
    are not ids, nothing is predicted.

    ``combine`` must not write into its operands: the forms share them, and each would then read what
    another has left. So that is a law of its own, tried with neighbouring leaves. And an operator that amplifies
    rounding, such as one that divides by small differences, can fail in float32 though all forms agree in
    float64: they round in different places.

    Args:
        subject: An aggregator or a model.
        inputs: Its leaves, ``(B, N, ...)``, or its tokens, ``(B, T, *token)``. Long enough for several chunks and
            not a multiple of one, or there is little to check.
        gradients: Whether to compare, in float64 with random cotangents, the gradients of parameters
            and leaves as well.
        seed: Of the random pieces and cotangents.

    Raises:
        TypeError: If the subject is neither an aggregator nor a model, or the tokens are no numbers.
        ValueError: If the inputs are empty or have too few dimensions, or gradients are asked for where none are.
    """
    forms: Forms = aggregator_forms if is_aggregator(subject) else model_forms
    tensors = check_states(inputs) if forms is aggregator_forms else [check_tokens(inputs)]
    floating = forms is model_forms or any(_differentiable(x) and x.numel() for x in tensors)
    predicting = forms is model_forms and not tensors[0].is_floating_point()
    double = replica(subject, torch.float64)
    with torch.no_grad(), explaining_dtypes(subject):
        exact = dict(forms(double, cast(inputs, torch.float64), seed))
        single: dict[str, Form] = {}
        if floating:
            single = dict(forms(replica(subject, torch.float32), cast(inputs, torch.float32), seed))
        first = next(iter(exact.values()))
        table: list[dict[str, Value]] = [
            {"form": name, "float64": _distance(form, first)} for name, form in exact.items()
        ]
        errors = rounding(subject, inputs, forms, seed, exact["parallel"], single) if single else {}
        for row, name in zip(table, single, strict=False):
            row |= errors.get(name, {})
            if predicting:
                row["predictions"] = _other_predictions(single[name], exact["parallel"])
        findings = _verdict(table)
        if forms is aggregator_forms:
            findings.append(
                Finding.holds("operands of combine left as they are", _left_alone(double, inputs))
            )
    if gradients:
        distance = _gradient_distance(double, cast(inputs, torch.float64), forms, seed)
        findings.append(Finding.at_most("float64: largest relative distance of gradients", distance, EXACT))
    return DualityReport(
        law="duality", subject=describe(subject, inputs), findings=tuple(findings), table=tuple(table)
    )


assert_duality = asserting(check_duality)


def _distance(one: Form, other: Form) -> float:
    """Measure the largest relative distance of any tensor, over the places that both forms have."""
    places = shared(one, other)
    return worst(relative(x, y) for x, y in zip(at(one, places), at(other, places), strict=True))


def _other_predictions(form: Form, truth: Form) -> int:
    """Count predictions that differ from the float64 ones, ties left out."""
    places = shared(form, truth)
    (logits,), (true,) = at(form, places), at(truth, places)
    best = true.topk(min(2, true.shape[-1]), dim=-1).values
    clear = best[..., 0] - best[..., -1] > TIE * largest(truth[1][0])
    return int((clear & (logits.argmax(-1) != true.argmax(-1))).sum())


def _verdict(table: list[dict[str, Value]]) -> list[Finding]:
    """Judge the worst of every column."""

    def column(key: str) -> list[Any]:
        return [row[key] for row in table if row.get(key) is not None]

    distance = worst(column("float64"))
    findings = [Finding.at_most("float64: largest relative distance", distance, EXACT)]
    if column("largest"):
        findings += [
            Finding.at_most("float32: error over the parallel form's", worst(column("ratio")), RATIO),
            Finding.at_most("float32: largest error", worst(column("largest")), LARGEST),
        ]
    if column("predictions"):
        findings.append(Finding.equals("float32: other predictions", sum(column("predictions")), 0))
    return findings


def _left_alone(aggregator: Any, leaves: State) -> bool:
    """Merge each leaf with the one after it, the last with the first, and look at the operands afterwards."""
    leaves = cast(leaves, torch.float64)
    following = tree_map(lambda x: x.roll(-1, 1), leaves)
    left, right = (tree_map(lambda x: x.flatten(0, 1), y) for y in (leaves, following))
    operands = own((left, right))
    aggregator.combine(left, right)
    return same((left, right), operands)


def _gradient_distance(subject: Any, inputs: State, forms: Forms, seed: int) -> float:
    """Measure how far the gradients of any form are from the parallel form's, over all inputs to the loss."""
    tensors, structure = flatten(inputs)
    tensors = [x.detach().requires_grad_() if _differentiable(x) else x for x in tensors]
    sources = [x for x in tensors if x.requires_grad]
    if isinstance(subject, nn.Module):
        sources += [x for x in subject.parameters() if x.requires_grad]
    if not sources:
        raise ValueError(
            "Gradients need parameters or leaves that have them, got none; call requires_grad_() on the subject, "
            "give it leaves of floating-point numbers, or leave gradients=False."
        )
    found = dict(forms(subject, unflatten(tensors, structure), seed))
    truth = found["parallel"]
    generator = torch.Generator().manual_seed(seed)
    cotangents = [torch.randn(_real(x).shape, generator=generator, dtype=torch.float64) for x in truth[1]]
    weights = truth[0], [c.to(x.device) for c, x in zip(cotangents, truth[1], strict=True)]
    distances = []
    for form in found.values():
        places = shared(form, truth)
        if not places:
            continue
        gradients = []
        for outputs in (at(form, places), at(truth, places)):
            pairs = zip(outputs, at(weights, places), strict=True)
            loss = torch.stack([(_real(x) * weight).sum() for x, weight in pairs if _differentiable(x)]).sum()
            if not loss.requires_grad:
                return float("inf")
            found_here = torch.autograd.grad(
                loss, sources, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            gradients.append(torch.cat([g.flatten() for g in found_here]))
        distances.append(relative(*gradients))
    return worst(distances)


def _differentiable(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()


def _real(x: Tensor) -> Tensor:
    """See complex numbers as pairs of real ones."""
    return torch.view_as_real(x) if x.is_complex() else x
