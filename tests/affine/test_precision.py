"""Rounding of the chunkwise form with bfloat16 inputs, beside that of the definition."""

import pytest
import torch

from affine.cases import KINDS, draw, everything

TIMES = {"inputs": 3.0, "float32": 1.5}
WAYS = {
    "recurrent": {"implementation": "recurrent"},
    "inputs": {"implementation": "chunkwise"},
    "float32": {"implementation": "chunkwise", "precision": "float32"},
}


def errors(kind, seed, length=257):
    """Return the RMS error of every tensor by way, against float64 of the same bfloat16 inputs."""
    drawn = draw(kind, 1, length, 2, 32, 32, dtype=torch.bfloat16, seed=seed)
    drawn["state"] = drawn["state"].float()
    drawn["q"] = drawn["q"] / 32**0.5
    wide = {name: x.double() for name, x in drawn.items()}
    truth = everything(wide, implementation="recurrent", read=kind.read)
    found = {way: everything(drawn, read=kind.read, **options) for way, options in WAYS.items()}
    return {
        name: {way: float((x[name].double() - true).square().mean().sqrt()) for way, x in found.items()}
        for name, true in truth.items()
    }
