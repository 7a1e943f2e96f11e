"""The kernels of flash-linear-attention behind ``implementation="fla"``, on a GPU where they are installed."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from scannable import affine

NEEDS = "needs flash-linear-attention (pip install --group peers) and Triton, as in torch for CUDA on Linux"
KINDS = list(itertools.product([None, "scalar", "diagonal"], [False, True]))


def inputs(decay, erase, *, batch=2, length=200, sequences=None):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    q, k, v = (draw(batch, length, 2, 64) for _ in range(3))
    gates = {None: None, "scalar": draw(batch, length, 2), "diagonal": draw(batch, length, 2, 64)}[decay]
    given = {
        "q": F.normalize(q, dim=-1).bfloat16(),
        "k": F.normalize(k, dim=-1).bfloat16(),
        "v": v.bfloat16(),
        "decay": None if gates is None else F.logsigmoid(gates + 3),
        "erase": draw(batch, length, 2).sigmoid() if erase else None,
        "state": draw(sequences or batch, 2, 64, 64) / 8,
    }
    return {name: None if x is None else x.cuda() for name, x in given.items()}


def apart(got, expected):
    """Measure a distance relative to the expected values, by root mean square."""
    return float((got.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.gpu
@pytest.mark.parametrize(("decay", "erase"), KINDS)
@pytest.mark.parametrize("read", ["after", "before"])
@pytest.mark.parametrize("offsets", [None, [0, 3, 3, 67, 200]])
def test_the_kernels_compute_the_definition(decay, erase, read, offsets):
    pytest.importorskip("fla.ops.kda", reason=NEEDS)
    packed = {} if offsets is None else {"batch": 1, "sequences": len(offsets) - 1}
    given = inputs(decay, erase, **packed)
    options = {"read": read, "offsets": offsets}
    double = {name: None if x is None else x.double() for name, x in given.items()}
    with torch.no_grad():
        exact = affine.recurrence(**double, **options, implementation="recurrent")
        found = affine.recurrence(**given, **options, implementation="fla")
    for got, expected in zip(found, exact, strict=True):
        assert apart(got, expected) < 0.01
    assert found[0].dtype == torch.bfloat16
    assert found[1].dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.parametrize(("decay", "erase"), KINDS)
def test_gradients_of_the_kernels_are_those_of_the_definition(decay, erase):
    pytest.importorskip("fla.ops.kda", reason=NEEDS)
    given = {name: None if x is None else x.requires_grad_() for name, x in inputs(decay, erase).items()}
    sources = [x for x in given.values() if x is not None]
    cotangents = [torch.randn(2, 200, 2, 64, device="cuda"), torch.randn(2, 2, 64, 64, device="cuda")]

    def gradients(implementation):
        outputs = affine.recurrence(**given, implementation=implementation)
        weights = [c.to(x.dtype) for c, x in zip(cotangents, outputs, strict=True)]
        return torch.autograd.grad(outputs, sources, weights)

    try:
        found = gradients("fla")
    except RuntimeError as refusal:
        pytest.skip(f"flash-linear-attention says what it needs: {refusal}")
    for got, expected in zip(found, gradients("recurrent"), strict=True):
        assert apart(got, expected) < 0.02
