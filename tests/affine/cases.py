"""Inputs of every kind for the affine recurrences, ways to run them with gradients, and how to compare."""

import itertools
import os
from dataclasses import dataclass

import torch
import torch.nn.functional as F

import scannable as sc
from scannable.affine._chunkwise import CHUNK

# Without it cuBLAS refuses torch's deterministic mode; it is read at the first product on a GPU.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

IMPLEMENTATIONS = ("recurrent", "tree", "chunkwise")
FAST = ("tree", "chunkwise")
LENGTHS = (0, 1, 2, 3, CHUNK - 1, CHUNK, CHUNK + 1, *sorted({63, 100, 257} - {CHUNK - 1, CHUNK, CHUNK + 1}))
GATED = ("decay", "erase")


@dataclass(frozen=True)
class Kind:
    """One of the twelve recurrences that ``recurrence`` runs."""

    decay: str
    erase: bool
    read: str

    def __str__(self):
        return f"{self.decay}-{'delta' if self.erase else 'sum'}-{self.read}"


KINDS = [
    Kind(*x) for x in itertools.product(("none", "scalar", "diagonal"), (False, True), ("after", "before"))
]
RICHEST = Kind("diagonal", erase=True, read="before")


def draw(
    kind,
    batch,
    length,
    heads=2,
    key=5,
    value=3,
    *,
    groups=None,
    gates="moderate",
    dtype=torch.float64,
    seed=0,
    first=None,
):
    """Draw inputs by name, with normalised keys and a first state.

    Args:
        kind: Which gates there are.
        groups: How many queries and keys heads share, where not each has its own.
        gates: ``"moderate"``; ``"edges"``: many are exactly zero or one, and erase strengths go up to two; or
            ``"infinite"``: the same, moderate where they are neither.
        first: How many states, where it is not one for each row of the batch.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, length, heads)

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    def some(like, share):
        return torch.rand(like.shape, generator=generator) < share

    given = {
        "q": normal(batch, length, groups or heads, key),
        "k": F.normalize(normal(batch, length, groups or heads, key), dim=-1),
        "v": normal(*shape, value),
        "state": normal(batch if first is None else first, heads, key, value),
    }
    if kind.decay != "none":
        decay = F.logsigmoid(3 + normal(*shape, *((key,) if kind.decay == "diagonal" else ())))
        if gates == "edges":
            decay = decay.masked_fill(some(decay, 0.3), 0).masked_fill(some(decay, 0.1), -torch.inf)
        given["decay"] = decay
    if kind.erase:
        erase = normal(*shape).sigmoid()
        if gates == "edges":
            for strength in (0.0, 1.0, 2.0):
                erase = erase.masked_fill(some(erase, 0.2), strength)
        given["erase"] = erase
    return {name: x.to(dtype) for name, x in given.items()}


def draw_elementwise(batch, length, *sizes, gates="moderate", dtype=torch.float64, seed=0, first=None):
    """Draw what is written, decays and first states ``(B, T, *sizes)``."""
    kind = Kind("diagonal", erase=False, read="after")
    width = torch.Size(sizes).numel()
    drawn = draw(kind, batch, length, 1, width, width, gates=gates, dtype=dtype, seed=seed, first=first)
    return {
        "write": drawn["v"].reshape(batch, length, *sizes),
        "decay": drawn["decay"].reshape(batch, length, *sizes),
        "state": drawn["state"][:, 0, 0].reshape(-1, *sizes).clone(),
    }


def run(given, **options):
    """Call the function that takes such inputs."""
    given = dict(given)
    if "write" in given:
        return sc.affine.elementwise(given.pop("write"), **given, **options)
    return sc.affine.recurrence(given.pop("q"), given.pop("k"), given.pop("v"), **given, **options)


def everything(given, call=run, *, seed=1, **options):
    """Return outputs, last states, and the gradients of all inputs for random cotangents on both, by name.

    The cotangents are numbers of bfloat16, so that every dtype gets the same ones.
    """
    given = {name: x.detach().requires_grad_() for name, x in given.items()}
    outputs, state = call(given, **options)
    generator = torch.Generator().manual_seed(seed)
    cotangents = [
        torch.randn(x.shape, generator=generator).bfloat16().to(x.device, x.dtype) for x in (outputs, state)
    ]
    gradients = torch.autograd.grad(
        (outputs, state), list(given.values()), cotangents, allow_unused=True, materialize_grads=True
    )
    found = {"outputs": outputs.detach(), "last state": state.detach()}
    return found | {f"gradient of {name}": x for name, x in zip(given, gradients, strict=True)}


def distance(got, expected):
    """Measure the distance by norm, relative to the expected tensor."""
    if expected.numel() == 0:
        return 0.0
    scale = expected.double().norm().clamp_min(1e-30)
    return float((got.double() - expected.double()).norm() / scale)


def assert_close(got, expected, tolerance=1e-10):
    """Compare tensors by name: their forms exactly, their values by norm."""
    assert got.keys() == expected.keys()
    for name, x in expected.items():
        assert (got[name].shape, got[name].dtype) == (x.shape, x.dtype), name
        assert torch.isfinite(x).all(), name
        apart = distance(got[name], x)
        assert apart <= tolerance, f"{name}: {apart:.2g}"


def in_pieces(sizes):
    """Return a call that reads a sequence in pieces of these sizes, with the state handed on."""

    def call(given, **options):
        state = given["state"]
        tokens = {name: x.split(sizes, 1) for name, x in given.items() if name != "state"}
        outputs = []
        for i in range(len(sizes)):
            piece = {name: x[i] for name, x in tokens.items()}
            o, state = run(piece | {"state": state}, **options)
            outputs.append(o)
        return torch.cat(outputs, 1), state

    return call


def one_by_one(lengths):
    """Return a call that runs packed sequences each by itself, without offsets."""

    def call(given, **options):
        state = given["state"].split(1)
        tokens = {name: x.split(lengths, 1) for name, x in given.items() if name != "state"}
        found = [
            run({name: x[i] for name, x in tokens.items()} | {"state": state[i]}, **options)
            for i in range(len(lengths))
        ]
        outputs, states = zip(*found, strict=True)
        return torch.cat(outputs, 1), torch.cat(states)

    return call


def offsets_of(lengths):
    return [0, *itertools.accumulate(lengths)]
