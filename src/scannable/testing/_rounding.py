"""How far every form in float32 is from the parallel form in float64."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scannable.scans import State
from scannable.scans._tree import tree_map
from scannable.testing._forms import Form, Forms, at, shared
from scannable.testing._report import Value, worst
from scannable.testing._subject import apart, cast, largest, replica

RATIO = 1.5
"""Streaming's error over the parallel form's, both against float64."""

FLOOR = 1e-7
"""A parallel error below this part of the largest value is rounding of the result itself, and counts as this."""

DRAWS = 32
"""Roundings that are counted together where one alone puts streaming's error above the bound."""

NUDGE = 1e-6
"""What weights and inputs are moved by, as a part of themselves, to be rounded anew."""

Errors = dict[str, list[tuple[Tensor, Tensor]]]
"""Of each form's tensors, and of the parallel form's at the same places, in units of the largest value."""


def rounding(
    subject: Any, inputs: State, forms: Forms, seed: int, truth: Form, single: dict[str, Form]
) -> dict[str, dict[str, Value]]:
    """Measure each form's RMS error, its ratio to the parallel form's, and the largest error.

    One rounding says little about a subject that amplifies a few errors greatly: the form that was hit looks worse.
    So a ratio above the bound is measured again, over many roundings.

    Args:
        subject: An aggregator or a model.
        inputs: Its leaves or its tokens.
        forms: What computes it in every way.
        seed: Of the random pieces.
        truth: The parallel form in float64.
        single: Every form in float32.
    """
    once = _errors(single, truth)
    # A form that gives few places has no ratio: it would be noise.
    squares = {
        name: [_squares(pairs)]
        for name, pairs in once.items()
        if 2 * len(shared(single[name], truth)) >= len(truth[0])
    }
    if worst(map(_ratio, squares.values())) > RATIO:
        for drawn in _drawn(subject, inputs, forms, seed):
            for name, found in squares.items():
                found.append(_squares(drawn[name]))
    return {
        name: {
            "float32": worst(float(error.square().mean().sqrt()) for error, _ in pairs),
            "ratio": _ratio(squares[name]) if name in squares else None,
            "largest": worst(float(error.max()) for error, _ in pairs),
        }
        for name, pairs in once.items()
    }


def _errors(single: dict[str, Form], truth: Form) -> Errors:
    """Compare every form with float64, where they have places in common."""
    scales = [largest(x) for x in truth[1]]
    found: Errors = {}
    for name, form in single.items():
        if places := shared(form, truth):
            rows = zip(*(at(x, places) for x in (form, single["parallel"], truth)), scales, strict=True)
            errors = [(apart(x, z).abs() / scale, apart(y, z).abs() / scale) for x, y, z, scale in rows]
            found[name] = [pair for pair in errors if pair[0].numel()]
    return found


def _squares(pairs: list[tuple[Tensor, Tensor]]) -> Float[Tensor, "tensors 2"]:
    return torch.stack([torch.stack([error.square().mean() for error in pair]) for pair in pairs])


def _ratio(squares: list[Float[Tensor, "tensors 2"]]) -> float:
    here, parallel = torch.stack(squares).mean(0).unbind(-1)
    return worst((here / parallel.clamp_min(FLOOR**2)).sqrt().tolist())


def _drawn(subject: Any, inputs: State, forms: Forms, seed: int) -> Iterator[Errors]:
    """Yield the errors of nearly the same subject on nearly the same inputs."""
    generator = torch.Generator().manual_seed(0)

    def nudged(x: Tensor) -> Tensor:
        if not (x.is_floating_point() or x.is_complex()):
            return x
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        return x * (1 + NUDGE * noise.to(x.device))

    for _ in range(1, DRAWS):
        moved = replica(subject, torch.float64)
        if isinstance(moved, nn.Module):
            for weight in moved.parameters():
                weight.copy_(nudged(weight))
        single = replica(moved, torch.float32)
        near = cast(tree_map(nudged, cast(inputs, torch.float64)), torch.float32)
        exact = forms(replica(single, torch.float64), cast(near, torch.float64), seed)
        truth = next(form for name, form in exact if name == "parallel")
        yield _errors(dict(forms(single, near, seed)), truth)
