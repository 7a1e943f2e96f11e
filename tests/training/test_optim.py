import math

import pytest
import torch
from torch import nn

from scannable import affine
from scannable.training import OptimiserConfig, rate
from scannable.training._optim import optimiser


def rates(**fields):
    config = OptimiserConfig(rate=2.0, **fields)
    return [rate(config, step, 100) for step in range(101)]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "stable"])
@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_every_schedule_rises_to_the_rate_and_ends_at_zero(schedule, warmup):
    values = rates(schedule=schedule, warmup=warmup)
    assert values[:warmup] == [2.0 * (i + 1) / warmup for i in range(warmup)]
    assert values[warmup] == pytest.approx(2.0)
    assert values[100] == pytest.approx(0, abs=1e-12)
    assert all(value > 0 for value in values[:100])
    assert all(a >= b for a, b in zip(values[warmup:], values[warmup + 1 :], strict=False))


def test_schedules_take_the_values_that_define_them():
    assert rates(schedule="linear", warmup=20)[60] == pytest.approx(1.0)
    assert rates(schedule="cosine", warmup=20)[60] == pytest.approx(1.0)
    assert rates(schedule="cosine", warmup=20)[40] == pytest.approx(1 + math.cos(math.pi / 4))
    stable = rates(schedule="stable", warmup=20, cooldown=0.25)
    assert stable[20:76] == [2.0] * 56
    assert stable[90] == pytest.approx(0.8)
    assert rates(schedule="stable", warmup=0, cooldown=0.0) == [2.0] * 101
    assert rates(schedule="stable", warmup=60, cooldown=0.9)[60:] == rates(schedule="linear", warmup=60)[60:]


def test_a_run_that_is_all_warm_up_never_divides_by_zero():
    config = OptimiserConfig(rate=1.0, warmup=4, schedule="linear")
    assert [rate(config, step, 4) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_only_matrices_decay_and_no_logarithms_of_rates():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.LayerNorm(4), affine.S4(4))
    made = optimiser(OptimiserConfig(decay=0.5, rate=0.1), model)
    before = {name: x.clone() for name, x in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.step()
    for name, x in model.state_dict().items():
        factor = 1 - 0.05 if x.dim() == 2 and "A_log" not in name else 1
        torch.testing.assert_close(x, before[name] * factor)


def test_vectors_side_by_side_do_not_decay():
    layer = affine.RWKV6(16)
    (decayed, spared) = (group["params"] for group in optimiser(OptimiserConfig(), layer).param_groups)
    names = {id(parameter): name for name, parameter in layer.named_parameters()}
    assert {"share_out", "share_in.weight"} <= {names[id(x)] for x in decayed}
    assert {"share", "bonus", "pace"} <= {names[id(x)] for x in spared}
    assert len(decayed) + len(spared) == len(names)


def test_shared_and_frozen_parameters_are_updated_once_or_not():
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    second.weight = first.weight
    second.bias.requires_grad_(False)
    groups = optimiser(OptimiserConfig(), nn.Sequential(first, second)).param_groups
    assert [len(group["params"]) for group in groups] == [1, 1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rate": 0.0}, "must be finite and above zero, got rate=0.0"),
        ({"clip": float("inf")}, "must be finite and above zero.*clip=inf"),
        ({"epsilon": float("nan")}, "must be finite and above zero.*epsilon=nan"),
        ({"decay": float("inf")}, "finite and at least zero.*decay=inf"),
        ({"clip": -1.0}, "above zero.*clip=-1.0.*; use a large clip"),
        ({"decay": -0.1}, "at least zero.*decay=-0.1"),
        ({"cooldown": 1.5}, "cooldown from 0 to 1.*cooldown=1.5"),
        ({"betas": (0.9, 1.0)}, r"from 0 up to but not 1, got \(0.9, 1.0\)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        OptimiserConfig(**fields)
