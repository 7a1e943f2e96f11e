"""Rounding of the chunkwise form with bfloat16 inputs, beside that of the definition, both against float64."""

import pytest
import torch

from affine.cases import KINDS, draw, everything, run
from scannable.affine import LinearAttention
from scannable.testing._subject import relative

RECURRENT = {"implementation": "recurrent"}
PRECISIONS = {"inputs": 3.0, "float32": 1.5}
"""How much larger the error may be than that of the definition."""

UNIT = 2**-22
"""An error of two float32 roundings: the state's gradient is float32, and the definition gives it to about one."""


def rms(x):
    return float(x.double().square().mean().sqrt())


def realistic(kind, seed=0, length=257, groups=None):
    given = draw(kind, 1, length, 2, 32, 32, groups=groups, dtype=torch.bfloat16, seed=seed)
    return given | {"q": given["q"] / 32**0.5, "state": given["state"].float()}


@pytest.mark.parametrize("groups", [None, 1], ids=["own", "shared"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_errors_with_bfloat16_inputs_are_those_of_the_definition_up_to_a_factor(kind, groups):
    given = realistic(kind, groups=groups)
    wide = {name: x.double() for name, x in given.items()}
    truth = everything(wide, **RECURRENT, read=kind.read)
    definition = everything(given, **RECURRENT, read=kind.read)
    for precision, factor in PRECISIONS.items():
        found = everything(given, implementation="chunkwise", precision=precision, read=kind.read)
        for name, true in truth.items():
            error, allowed = rms(found[name] - true), factor * rms(definition[name] - true)
            if name == "gradient of state":
                allowed = max(allowed, UNIT * rms(true))
            assert 0 < error <= allowed, f"{name}, {precision}: {factor * error / allowed:.2f}"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_states_are_never_rounded_to_the_inputs(kind):
    given = realistic(kind, length=100)
    states = [run(given, read=kind.read, precision=precision)[1] for precision in PRECISIONS]
    assert torch.equal(*states)
    wide = {name: x.float() for name, x in given.items()}
    assert torch.equal(states[0], run(wide, read=kind.read)[1])


@pytest.mark.parametrize("kind", KINDS[::3], ids=str)
def test_precision_means_nothing_for_inputs_that_are_wide(kind):
    for dtype in (torch.float32, torch.float64):
        given = draw(kind, 1, 70, dtype=dtype)
        one, other = (everything(given, read=kind.read, precision=precision) for precision in PRECISIONS)
        assert all(torch.equal(other[name], x) for name, x in one.items())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.erase], ids=str)
def test_in_float16_what_the_definition_can_say_the_chunkwise_form_can(kind):
    # Queries meet keys in numbers that float16 does not hold, and values make them small again.
    given = draw(kind, 1, 60, 2, 32, 8, dtype=torch.float16)
    given |= {"q": 1000 * given["q"], "k": 1000 * given["k"], "v": given["v"] / 1000}
    given["state"] = given["state"].float() / 1000
    found, expected = (run(given, read=kind.read, **form)[0] for form in ({}, RECURRENT))
    assert expected.isfinite().all()
    assert relative(found, expected) < 5e-3


@torch.no_grad()
def test_weights_of_a_long_text_may_add_up_to_more_than_float16_holds():
    layer, x = LinearAttention(128), torch.randn(1, 4096, 128)
    expected = layer(x)[0]
    with torch.autocast("cpu", torch.float16):
        assert relative(layer(x)[0], expected) < 0.01
