"""Inference modules: reading again, or with a cache, what one pass reads."""

import pytest
import torch

from models.subjects import stir
from scannable.modules import CrossInference, Inference, TokenEncoder, Transformer, TransformerInference
from scannable.testing._subject import relative

IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


class Mean(Inference):
    """A read-out in one line, with the place of the chunk in it if asked."""

    def __init__(self, absolute=False):
        super().__init__()
        self.absolute = absolute

    def forward(self, prefix, tokens, position=0):
        place = torch.as_tensor(position, dtype=torch.float64).reshape(-1, 1)
        return prefix[:, None] + torch.cumsum(tokens.double() + place, 1)


@pytest.mark.parametrize("absolute", [False, True])
def test_the_default_streaming_form_reads_the_chunk_again(absolute):
    inference, prefix = Mean(absolute), torch.randn(2, dtype=torch.float64)
    place = {"position": torch.tensor([10, 20])} if absolute else {}
    expected = inference(prefix, IDS, **place)
    for sizes in ([5], [1] * 5, [2, 3]):
        cache, start = inference.start(prefix, **place), 0
        for size in sizes:
            got, cache = inference.step(cache, IDS[:, start : start + size])
            assert torch.equal(got, expected[:, start : start + size])
            start += size


def test_a_module_that_reads_nothing_says_what_to_write():
    with pytest.raises(NotImplementedError, match=r"Write forward\(prefix, tokens\)"):
        Inference()(None, IDS)


def transformer_inference(positions="none", within="absolute", kind=TransformerInference):
    encoder = TokenEncoder(10, 8, positions=positions, limit=100)
    stack = Transformer(8, 2, 2, positions=within, slots=10)
    return stir(kind(encoder, stack, prefix_slots=5))


@pytest.mark.parametrize("within", ["absolute", "rotary", "none"])
@pytest.mark.parametrize("positions", ["none", "chunk", "global"])
@pytest.mark.parametrize("has_prefix", [True, False])
@pytest.mark.parametrize("kind", [TransformerInference, CrossInference])
def test_the_cache_reads_what_one_pass_reads(positions, within, has_prefix, kind):
    inference = transformer_inference(positions, within, kind)
    prefix = torch.randn(2, 5, 8, dtype=torch.float64) if has_prefix else None
    place = torch.tensor([10, 20]) if inference.absolute else 0
    with torch.no_grad():
        expected = inference(prefix, IDS, place)
        for sizes in ([5], [1] * 5, [2, 3]):
            cache, start = inference.start(prefix, place), 0
            for size in sizes:
                got, cache = inference.step(cache, IDS[:, start : start + size])
                assert relative(got, expected[:, start : start + size]) < 1e-12
                start += size


def test_slots_of_prefix_and_chunk_are_told_apart():
    """A prefix that looks like the chunk is still the prefix; and without one the chunk keeps its slots."""
    inference = transformer_inference()
    with torch.no_grad():
        like_chunk = inference.embed(IDS)
        slots = inference.stack.slots.weight
        before = inference(like_chunk, IDS), inference(None, IDS)
        slots[:5] += torch.randn(5, 8, dtype=torch.float64)
        after = inference(like_chunk, IDS), inference(None, IDS)
    assert relative(after[0], before[0]) > 1e-3
    assert torch.equal(after[1], before[1])
