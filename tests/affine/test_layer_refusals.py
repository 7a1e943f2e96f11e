"""What layers refuse before they compute, or before they go on from half a state."""

import pytest
import torch

from agreement import refused
from scannable import affine

X = torch.randn(2, 5, 16)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ("deltanet", {"window": None}),
        ("deltanet", {"memory": None}),
        ("mlstm", {"peak": None}),
        ("gla", {"window": torch.zeros(2, 3, 16)}),
    ],
)
def test_a_layer_goes_on_from_a_whole_state_only(row, parts):
    layer = affine.ROWS[row](16)
    _, state = layer(X)
    with refused(ValueError, f"A state of '{row}' must hold .*; pass what this layer returned, whole"):
        layer(X, state._replace(**parts))


@pytest.mark.parametrize("row", affine.ROWS)
@pytest.mark.parametrize("option", ["precision", "implementation"])
def test_every_row_refuses_options_that_there_are_not(row, option):
    with refused(ValueError, f"{option} must be one of .*got 'bf16'; choose one of these"):
        affine.ROWS[row](16)(X, **{option: "bf16"})


@pytest.mark.parametrize("row", affine.ROWS)
@pytest.mark.parametrize("x", [X.double(), X.long(), None], ids=["float64", "int64", "None"])
def test_every_row_refuses_tokens_of_another_dtype(row, x):
    with refused(TypeError, "x must be .*got"):
        affine.ROWS[row](16)(x)


@pytest.mark.parametrize(
    ("row", "options", "words"),
    [
        ("s4", {"state": 0}, "state must be at least 1, got 0"),
        ("mamba", {"state": 0}, "state must be at least 1, got 0"),
        ("mamba2", {"state": 0}, "state must be at least 1, got 0"),
        ("mamba2", {"taps": 0}, "taps must be at least 1, got 0"),
        (
            "mamba2",
            {"shortest": 2.0, "longest": 1.0},
            "Time steps need 0 <= shortest <= longest, got 2.0 and 1.0",
        ),
        ("deltaproduct", {"taps": 0}, "taps must be at least 1, got 0"),
        ("gla", {"rank": 0}, "rank must be at least 1, got 0"),
        ("gla", {"slowness": -1.0}, "slowness must be above zero, got -1.0"),
        ("rwkv6", {"rank": 0}, "rank must be at least 1, got 0"),
        ("gated-rfa", {"projections": 0}, "projections must be at least 1, got 0"),
    ],
)
def test_a_row_with_nothing_in_it_is_refused(row, options, words):
    with refused(ValueError, words):
        affine.ROWS[row](16, **options)


def test_a_recurrence_needs_a_head():
    with refused(ValueError, "G >= 1"):
        affine.recurrence(*torch.zeros(3, 1, 5, 0, 3))
