"""What the recurrences refuse, and that they say the rule, what was got, and the cure."""

import importlib.util
import re

import pytest
import torch

import scannable as sc
from affine.cases import IMPLEMENTATIONS, RICHEST, draw, draw_elementwise, run
from agreement import refused
from scannable.affine import _fla


def given(**changes):
    return draw(RICHEST, 2, 6, dtype=torch.float32) | changes


def written(**changes):
    return draw_elementwise(2, 6, 3, dtype=torch.float32) | changes


def zeros(*shape, dtype=torch.float32, device="cpu"):
    return torch.zeros(shape, dtype=dtype, device=device)


WRONG_SHAPES = {
    "queries of other heads": ({"q": zeros(2, 6, 4, 5)}, "q and k must have one shape", "(2, 6, 4, 5)"),
    "keys of another width": ({"k": zeros(2, 6, 2, 4)}, "q and k must have one shape", "(2, 6, 2, 4)"),
    "queries without heads": ({"q": zeros(2, 6, 5), "k": zeros(2, 6, 5)}, "q and k", "(2, 6, 5)"),
    "no rows": ({"q": zeros(0, 6, 2, 5), "k": zeros(0, 6, 2, 5)}, "B >= 1", "(0, 6, 2, 5)"),
    "values of other heads": ({"v": zeros(2, 6, 1, 3)}, "v must have shape", "(2, 6, 1, 3)"),
    "values without heads": ({"v": zeros(2, 6, 0, 3)}, "v must have shape", "(2, 6, 0, 3)"),
    "values of other tokens": ({"v": zeros(2, 5, 2, 3)}, "v must have shape", "(2, 5, 2, 3)"),
    "a decay of all heads": ({"decay": zeros(2, 6)}, "decay must have shape", "got (2, 6)"),
    "a decay of other heads": ({"decay": zeros(2, 6, 1)}, "decay must have shape", "(2, 6, 1)"),
    "a decay of one channel": ({"decay": zeros(2, 6, 2, 1)}, "decay must have shape", "(2, 6, 2, 1)"),
    "an erase of each channel": ({"erase": zeros(2, 6, 2, 5)}, "erase must have shape", "(2, 6, 2, 5)"),
    "a state of one row": (
        {"state": zeros(1, 2, 5, 3)},
        "state must have shape (2, 2, 5, 3)",
        "(1, 2, 5, 3)",
    ),
    "a transposed state": (
        {"state": zeros(2, 2, 3, 5)},
        "state must have shape (2, 2, 5, 3)",
        "(2, 2, 3, 5)",
    ),
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_shapes_that_do_not_fit_are_refused(name):
    changes, rule, got = WRONG_SHAPES[name]
    with refused(ValueError, f"(?s){re.escape(rule)}.*{re.escape(got)}.*; "):
        run(given(**changes))


@pytest.mark.parametrize("name", ["q", "k", "v", "decay", "erase"])
@pytest.mark.parametrize("wrong", ["integers", "complex numbers", "a list"])
def test_what_is_no_floating_point_tensor_is_refused(name, wrong):
    x = given()[name]
    x = {"integers": x.long(), "complex numbers": x.to(torch.complex64), "a list": x.tolist()}[wrong]
    with refused(TypeError, f"^{name} must be a floating-point tensor, got .*; convert it"):
        run(given(**{name: x}))


def test_queries_keys_and_values_of_several_dtypes_are_refused():
    with refused(TypeError, "one dtype, got torch.float32, torch.bfloat16 and torch.float32; cast"):
        run(given(k=given()["k"].bfloat16()))


@pytest.mark.parametrize("name", ["k", "v", "decay", "erase"])
def test_inputs_on_several_devices_are_refused(name):
    with refused(ValueError, f"one device, got .*'{name}': 'meta'.*; move them"):
        run(given(**{name: given()[name].to("meta")}))


@pytest.mark.parametrize("wrong", ["dtype", "too wide", "list", "device"])
def test_states_of_another_kind_are_refused(wrong):
    for inputs in (given(), written()):
        state, error, match = inputs["state"], TypeError, "must be torch.float32 .*got {}; pass what the call"
        if wrong == "dtype":
            state, match = state.bfloat16(), match.format("torch.bfloat16")
        elif wrong == "too wide":
            state, match = state.double(), match.format("torch.float64")
        elif wrong == "list":
            state, match = state.tolist(), match.format("list")
        else:
            state, error, match = state.to("meta"), ValueError, "on cpu, .* on meta; pass what the call"
        with refused(error, match):
            run(inputs | {"state": state})


def test_a_narrow_state_for_wide_inputs_is_refused():
    with refused(TypeError, r"torch.float64 .*got torch.float32"):
        run(draw(RICHEST, 1, 3) | {"state": zeros(1, 2, 5, 3)})


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_decay_above_zero_is_refused(implementation):
    for inputs in (given(), written()):
        decay = inputs["decay"].clone()
        decay[1, 3] = 0.25
        decay[0, 0] = torch.nan  # does not hide it
        with refused(ValueError, r"log space and must be at most 0, got up to 0\.25; pass log\(gate\)"):
            run(inputs | {"decay": decay}, implementation=implementation)
        decay.requires_grad_()
        with refused(ValueError, "at most 0"):
            run(inputs | {"decay": decay}, implementation=implementation)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_decay_of_nan_stays_to_be_seen(implementation):
    inputs = given()
    inputs["decay"][0, 3, 1] = torch.nan
    o, state = run(inputs, implementation=implementation)
    assert o[0, 4:, 1].isnan().all()
    assert state[0, 1].isnan().all()
    assert torch.isfinite(o[1]).all()
    assert torch.isfinite(o[0, :, 0]).all()
    inputs = written()
    inputs["decay"][0, 3, 1] = torch.nan
    states, state = run(inputs, implementation=implementation)
    assert states[0, 3:, 1].isnan().all()
    assert state.isnan().sum() == 1
    assert states.isnan().sum() == 3


def test_values_on_other_devices_are_looked_at_on_request(monkeypatch, device):
    inputs = {name: x.to(device) for name, x in given().items()}
    inputs["decay"] = inputs["decay"] + 100
    with refused(ValueError, "at most 0"):
        run(inputs, check=True)
    if device.type != "cpu":
        run(inputs)


BAD_OFFSETS = {
    "falling": ([0, 4, 3, 6], ValueError, "rise from 0"),
    "short": ([0, 4], ValueError, "rise from 0 to .*6"),
    "long": ([0, 7], ValueError, "rise from 0 to .*6"),
    "late": ([1, 6], ValueError, "rise from 0"),
    "none": ([], ValueError, "rise from 0"),
    "halves": ([0.0, 6.0], TypeError, "whole numbers"),
    "a tensor of floats": (torch.tensor([0.0, 6.0]), TypeError, "whole numbers"),
}


@pytest.mark.parametrize("name", BAD_OFFSETS)
def test_offsets_that_do_not_rise_to_the_end_are_refused(name):
    offsets, error, match = BAD_OFFSETS[name]
    for inputs in (given(), written()):
        one = {x: y[:1] for x, y in inputs.items()}
        with refused(error, match):
            run(one, offsets=offsets)


def test_packed_sequences_in_a_batch_are_refused():
    for inputs in (given(), written()):
        with refused(ValueError, "batch of one row.*got a batch of 2; join the rows"):
            run(inputs, offsets=[0, 6])


def test_a_state_that_is_not_one_for_each_sequence_is_refused():
    inputs = {name: x[:1] for name, x in given().items()}
    with refused(ValueError, r"shape \(2, 2, 5, 3\).*one for each sequence, got \(1, 2, 5, 3\)"):
        run(inputs, offsets=[0, 2, 6])


@pytest.mark.parametrize(
    "mask", [torch.ones(2, 6), torch.ones(6, dtype=torch.bool), torch.ones(2, 5, dtype=torch.bool), [[True]]]
)
def test_masks_of_another_form_are_refused(mask):
    for inputs in (given(), written()):
        with refused(ValueError, r"torch.bool of shape \(B, T\), here \(2, 6\), got .*; True is a token"):
            run(inputs, mask=mask)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("implementation", "['recurrent', 'tree', 'chunkwise', 'fla']"),
        ("read", "['after', 'before']"),
        ("precision", "['inputs', 'float32']"),
    ],
)
def test_unknown_options_are_refused_with_the_list(name, allowed):
    with refused(ValueError, re.escape(f"{name} must be one of {allowed}, got 'triton'")):
        run(given(), **{name: "triton"})
    if name == "implementation":
        with refused(ValueError, re.escape(f"{name} must be one of {allowed}, got 'triton'")):
            run(written(), **{name: "triton"})


def test_the_default_is_chunkwise_everywhere():
    assert sc.affine.default_implementation("cpu") == "chunkwise"
    assert sc.affine.default_implementation(torch.device("cuda", 1)) == "chunkwise"
    with pytest.raises(RuntimeError):
        sc.affine.default_implementation("nowhere")


def test_elementwise_has_no_kernels_in_flash_linear_attention():
    with refused(ValueError, "no elementwise recurrence, got implementation='fla'; leave it out, or choose"):
        run(written(), implementation="fla")


def test_the_kernels_of_flash_linear_attention_refuse_a_cpu():
    with refused(
        ValueError, "implementation='fla' needs a GPU.*got torch.float32 on cpu; choose 'chunkwise'"
    ):
        run(given(), implementation="fla")


@pytest.mark.skipif(importlib.util.find_spec("triton") is not None, reason="needs a machine without Triton")
def test_without_flash_linear_attention_its_name_is_told():
    q, k, v, state = (
        x.to("meta", torch.bfloat16) for x in (given()[name] for name in ("q", "k", "v", "state"))
    )
    with pytest.raises(
        ImportError, match=r"needs flash-linear-attention .*pip install .*or choose 'chunkwise'"
    ):
        _fla.recurrence(q, k, v, None, None, state, before=False, lengths=None)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"write": zeros(2), "decay": zeros(2)}, ValueError, r"one shape \(B >= 1, T, ...\), got \(2,\)"),
        ({"decay": zeros(2, 6, 1)}, ValueError, r"one shape .*got \(2, 6, 3\) and \(2, 6, 1\); expand"),
        ({"write": zeros(0, 6, 3), "decay": zeros(0, 6, 3)}, ValueError, "B >= 1"),
        ({"write": zeros(2, 6, 3, dtype=torch.int64)}, TypeError, "write must be a floating-point tensor"),
        ({"decay": [0.0]}, TypeError, "decay must be a floating-point tensor, got list"),
        ({"decay": zeros(2, 6, 3, device="meta")}, ValueError, "one device"),
        ({"state": zeros(2, 4)}, ValueError, r"shape \(2, 3\) .*got \(2, 4\)"),
    ],
)
def test_elementwise_inputs_that_do_not_fit_are_refused(changes, error, match):
    with refused(error, match):
        run(written(**changes))
