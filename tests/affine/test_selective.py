"""The state-space rows against their papers' equations, written out by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

import scannable as sc
from agreement import refused
from scannable.affine import Carry
from scannable.affine._selective import selective
from scannable.affine.rows import S4, S6, Mamba2

BATCH, WIDTH, STATE = 2, 3, 4


def draw(length, dtype=torch.float64):
    """Draw ``u, delta, A, B, C``."""
    u, step = torch.randn(2, BATCH, length, WIDTH, dtype=dtype)
    B, C = torch.randn(2, BATCH, length, STATE, dtype=dtype)
    return u, F.softplus(step), -torch.rand(WIDTH, STATE, dtype=dtype), B, C


def loop(u, delta, A, B, C):
    """Step through the equations, number by number of the state."""
    y = torch.zeros_like(u)
    for b in range(BATCH):
        for d in range(WIDTH):
            for s in range(STATE):
                h = torch.zeros((), dtype=u.dtype)
                for t in range(u.shape[1]):
                    kept = torch.exp(delta[b, t, d] * A[d, s])
                    h = kept * h + delta[b, t, d] * B[b, t, s] * u[b, t, d]
                    y[b, t, d] += C[b, t, s] * h
    return y


def fresh(implementation=None, dtype=torch.float64):
    return Carry(None, None, dtype, implementation, "inputs")


@pytest.mark.parametrize("implementation", ["recurrent", "tree", "chunkwise"])
def test_the_selective_scan_is_the_recurrence_of_the_paper(implementation):
    inputs = draw(9)
    torch.testing.assert_close(
        selective(*inputs, fresh(implementation)), loop(*inputs), rtol=1e-12, atol=1e-12
    )


def test_the_selective_scan_is_not_rounded_by_autocast(device):
    inputs = [x.to(device) for x in draw(9, torch.float32)]
    expected = selective(*inputs, fresh(dtype=torch.float32))
    with torch.autocast(device.type, torch.bfloat16):
        torch.testing.assert_close(selective(*inputs, fresh(dtype=torch.float32)), expected)


def test_s6_is_the_selective_scan_of_maps_of_the_token():
    layer, x = S6(WIDTH, STATE, rank=2).double(), torch.randn(BATCH, 9, WIDTH, dtype=torch.float64)
    low, B, C = (x @ layer.x_proj.weight.T).split([2, STATE, STATE], -1)
    delta = (1 + (low @ layer.dt_proj.weight.T + layer.dt_bias).exp()).log()
    expected = loop(x, delta, -layer.A_log.exp(), B, C) + layer.D * x
    torch.testing.assert_close(layer(x)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("length", [1, 16, 21])
def test_s6_is_the_scan_of_mambapy(length):
    pscan = pytest.importorskip("mambapy.pscan", reason="needs mambapy: pip install --group peers").pscan
    inputs = [x.requires_grad_() for x in draw(length)]
    u, delta, A, B, C = inputs
    states = pscan((delta[..., None] * A).exp(), (delta * u)[..., None] * B[:, :, None])
    expected, got = (states * C[:, :, None]).sum(-1), selective(*inputs, fresh())
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    cotangent = torch.randn_like(got)
    gradients = [torch.autograd.grad(y, inputs, cotangent) for y in (got, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_s4_is_a_convolution():
    length, layer = 20, S4(WIDTH, STATE).double()
    with torch.no_grad():
        layer.log_step += 2
    x = torch.randn(BATCH, length, WIDTH, dtype=torch.float64)
    A, delta = -layer.A_log.exp(), layer.log_step.exp()[:, None]
    step = (torch.exp(delta * A) - 1) / A
    lags = [(layer.C * torch.exp(lag * delta * A) * step).sum(-1) for lag in range(length)]
    rows = [sum(lags[lag] * x[:, t - lag] for lag in range(t + 1)) for t in range(length)]
    torch.testing.assert_close(layer(x)[0], torch.stack(rows, 1) + layer.D * x, rtol=1e-11, atol=1e-12)


def test_s4_gives_the_same_output_for_an_input_sampled_twice_as_often():
    layer, x = S4(WIDTH, STATE).double(), torch.randn(BATCH, 12, WIDTH, dtype=torch.float64)
    expected, _ = layer(x)
    with torch.no_grad():
        layer.log_step -= math.log(2)
    torch.testing.assert_close(layer(x.repeat_interleave(2, 1))[0][:, 1::2], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("row", ["s4", "s6", "mamba", "mamba2"])
def test_time_steps_begin_where_the_authors_begin(row):
    config = sc.AffineLanguageModelConfig(row=row, width=64, layers=1)
    layer = sc.AffineLanguageModel(config, 7).blocks[0].layer
    layer = layer.ssm if row == "mamba" else layer
    step = layer.log_step.exp() if row == "s4" else F.softplus(layer.dt_bias)
    assert step.min() > 0.00099
    assert step.max() < 0.101
    rates = layer.A_log.exp()
    if isinstance(layer, Mamba2):
        assert rates.min() >= 1
        assert rates.max() <= 16
    else:
        torch.testing.assert_close(rates, torch.arange(1.0, 17).expand_as(rates))


def test_mamba2_refuses_heads_and_groups_that_do_not_fit():
    with refused(ValueError, "heads must divide the width that they share, 48, got 5"):
        Mamba2(24, heads=5)
    with refused(ValueError, "groups must divide the heads, 4, got 3"):
        Mamba2(24, heads=4, groups=3)
