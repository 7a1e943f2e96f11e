"""What an output may not depend on: later tokens, how many there will be, and the other rows of a batch."""

import operator
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from scannable.scans import State, scan
from scannable.scans._tree import flatten, tree_map
from scannable.testing._report import Finding, Report, Value, asserting, worst
from scannable.testing._subject import (
    SequenceModel,
    Subject,
    cast,
    check_states,
    check_tokens,
    describe,
    explaining_dtypes,
    furthest,
    is_aggregator,
    read,
    relative,
    replica,
    same,
    spread,
)

EXACT = 1e-12


def check_causal(model: SequenceModel, tokens: Tensor, *, places: int = 32) -> Report:
    """Check that ``logits[:, :t]`` depend on ``tokens[:, :t]`` only, in the parallel form and in float64.

    Twice for each place ``t``: with another token there, and without anything from there on. The
    first leaves all shapes as they are, so that it should change no bit; a bound of 1e-12 by norm allows
    for rounding. How many of the changed tokens show in the logits at or after them is told for information.

    Args:
        model: The model; a copy of it in float64 is called.
        tokens: Ids, ``(B, T)``, or vectors, ``(B, T, *token)``, with at least two different ones among them.
        places: How many places to try; all if there are not more, and otherwise spread evenly, together
            with both sides of chunk boundaries if the model has a ``chunk``.
    """
    _model_only(model)
    check_tokens(tokens, length=2)
    twin, tokens = replica(model, torch.float64), cast(tokens, torch.float64)
    table: list[dict[str, Value]] = []
    with torch.no_grad(), explaining_dtypes(model):
        logits = twin(tokens)
        for t in spread(tokens.shape[1], places, getattr(model, "chunk", None)):
            changed = twin(_with_another(tokens, t))
            row: dict[str, Value] = {"place": t, "changed": relative(changed[:, :t], logits[:, :t])}
            row["cut"] = relative(twin(tokens[:, :t]), logits[:, :t]) if t else 0.0
            row["same bits"] = same(changed[:, :t], logits[:, :t])
            row["seen"] = not same(changed[:, t:], logits[:, t:])
            table.append(row)
    findings = (
        Finding.at_most("effect of a later token", worst(row["changed"] for row in table), EXACT),
        Finding.at_most("effect of the length", worst(row["cut"] for row in table), EXACT),
        Finding(what="places where not a bit changed", measured=sum(bool(row["same bits"]) for row in table)),
        Finding(what="places where the token is seen", measured=sum(bool(row["seen"]) for row in table)),
        Finding(what="places", measured=len(table)),
    )
    return Report(law="causality", subject=describe(model, tokens), findings=findings, table=tuple(table))


def check_batch_independent(subject: Subject, inputs: State) -> Report:
    """Check that a row of a batch is computed as if it were alone, in float64.

    Each row is compared with itself in a batch of one, and in the same batch among other rows. A model is
    called, and also streamed: half of the tokens by ``prefill``, the others by ``step``.

    Args:
        subject: An aggregator or a model; a copy of it in float64 is used.
        inputs: Its leaves, ``(B, N, ...)`` with ``N >= 2``, or its tokens, ``(B, T, *token)``; ``B >= 2``.
    """
    if is_aggregator(subject):
        check_states(inputs, batch=2, length=2)
        forms: dict[str, Callable[..., State]] = {"scan": partial(scan, inclusive=True)}
    else:
        check_tokens(inputs, batch=2)
        forms = {"parallel": operator.call, "streaming": _stream}
    twin, inputs = replica(subject, torch.float64), cast(inputs, torch.float64)
    batch = flatten(inputs)[0][0].shape[0]
    table: list[dict[str, Value]] = []
    with torch.no_grad(), explaining_dtypes(subject):
        for name, form in forms.items():
            whole = form(twin, inputs)
            for row in range(batch):
                expected = _row(whole, row)
                alone = furthest(form(twin, _row(inputs, row)), expected)
                among = furthest(_row(form(twin, _replace_others(inputs, row)), row), expected)
                table.append({"form": name, "row": row, "alone": alone, "among others": among})
    findings = (
        Finding.at_most("effect of being alone", worst(row["alone"] for row in table), EXACT),
        Finding.at_most("effect of other rows", worst(row["among others"] for row in table), EXACT),
    )
    subject_text = describe(subject, inputs)
    return Report(law="batch independence", subject=subject_text, findings=findings, table=tuple(table))


assert_causal = asserting(check_causal)
assert_batch_independent = asserting(check_batch_independent)


def _model_only(model: object) -> None:
    if is_aggregator(model):
        raise TypeError(
            f"This law is about models, got the aggregator {type(model).__name__}; "
            f"scans of any aggregator are causal by construction."
        )


def _with_another(tokens: Shaped[Tensor, "B T *token"], place: int) -> Shaped[Tensor, "B T *token"]:
    """Put another of the tokens that occur at one place of every row."""
    known, index = tokens.flatten(0, 1).unique(dim=0, return_inverse=True)
    if len(known) < 2:
        raise ValueError(
            f"Tokens must hold at least two different ones, got only {known.tolist()}; "
            f"draw them as the model's input is distributed."
        )
    changed = tokens.clone()
    changed[:, place] = known[(index.view(tokens.shape[:2])[:, place] + 1) % len(known)]
    return changed


def _row(state: State, row: int) -> State:
    return tree_map(lambda x: x[row : row + 1], state)


def _replace_others(inputs: State, row: int) -> State:
    """Give all rows but one the neighbour's values, reversed in time."""

    def replace(x: Tensor) -> Tensor:
        others = x.roll(1, 0).flip(1)
        others[row] = x[row]
        return others

    return tree_map(replace, inputs)


def _stream(model: SequenceModel, tokens: Shaped[Tensor, "B T *token"]) -> Float[Tensor, "B T V"]:
    length = tokens.shape[1]
    return read(model, tokens, [("all", (length + 1) // 2), *[("step", 1)] * (length // 2)])[1]
