"""A run of a second, for the tests of training."""

import jaxtyping
import pytest
import torch

from scannable.models import DecoderConfig
from scannable.tasks import WordProblemConfig
from scannable.training import CurriculumConfig, OptimiserConfig, WordRunConfig
from scannable.training._checkpoint import read_tensors


def tiny(**fields):
    """A decoder that learns parity; its curriculum moves on within the run."""
    defaults = {
        "task": WordProblemConfig(group="parity", longest=3),
        "model": DecoderConfig(width=16, heads=2, layers=1, dropout=0.1, limit=16),
        "optimiser": OptimiserConfig(rate=1e-2, warmup=5),
        "curriculum": CurriculumConfig(stages=(1, 2), every=5, words=32, threshold=0.2),
        "steps": 30,
        "tokens": 64,
        "log_every": 4,
    }
    return WordRunConfig(**{**defaults, **fields})


def same_state(one, other):
    """Whether two run folders hold the same weights, moments and generators, to the bit."""
    for name in ("checkpoint.safetensors", "model.safetensors"):
        (left, _), (right, _) = read_tensors(one / name), read_tensors(other / name)
        if left.keys() != right.keys() or not all(torch.equal(left[key], right[key]) for key in left):
            return False
    return True


def assert_choice_is_refused(make, words):
    """Expect our error for a name outside its choices, or the shape checker's, which sees the call first."""
    with pytest.raises((ValueError, jaxtyping.TypeCheckError)) as caught:
        make()
    if not isinstance(caught.value, jaxtyping.TypeCheckError):
        assert words in str(caught.value)
