"""Small models with lively weights, ways to stream them, and a reader of error messages."""

import contextlib
import itertools
import re

import jaxtyping
import pytest
import torch

from scannable import Decoder, DecoderConfig, TransformerPSM, TransformerPSMConfig

VOCABULARY = 11

SWITCHES = {
    "identity": ("flag", "learned"),
    "aggregator_mask": ("bidirectional", "causal"),
    "codebook": ("none", "own", "tied"),
    "shared": (False, True),
}

POSITIONS = ("slot", "rotary", "chunk", "global")


def every_switch():
    """All combinations of ``SWITCHES``; the others take turns."""
    for i, values in enumerate(itertools.product(*SWITCHES.values())):
        turns = {"tied": i % 2 == 0, "recompute": i % 3 == 0}
        turns |= {"norm": (None, 2.0)[i % 7 == 0], "codebook_gradient": ("soft", "stop")[i % 11 == 0]}
        turns |= {"inference": ("concatenated", "cross")[i % 5 % 2]}
        switches = dict(zip(SWITCHES, values, strict=True))
        turns |= {"aggregator_norm": i % 4 < 2 or switches["shared"]}
        yield switches | turns | {"scaled": i % 4 == 1 and switches["codebook"] != "tied"}


def stir(model, seed=0):
    """Draw all weights anew, large enough that every part of the model shows in its output."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator) + name.endswith("norm.weight"))
    return model.double().eval()


def psm(**switches):
    small = {"width": 16, "heads": 2, "chunk": 4, "codes": 50, "limit": 64}
    if switches.get("shared"):
        small["inference_layers"] = 1  # as many as the aggregator has
    return stir(TransformerPSM(TransformerPSMConfig(**small | switches), VOCABULARY))


def decoder(**switches):
    small = {"width": 16, "heads": 2, "limit": 64}
    return stir(Decoder(DecoderConfig(**small | switches), VOCABULARY))


def draw(batch, length, seed=0):
    return torch.randint(0, VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def stream_by(model, tokens, sizes, stream=None):
    """Read tokens in pieces, a size of 0 being one step; return all outputs and the stream."""
    stream = model.start(len(tokens)) if stream is None else stream
    found, start, before = [model(tokens[:, :0])], 0, stream.count
    for size in sizes:
        if size:
            output, stream = model.prefill(stream, tokens[:, start : start + size], logits="all")
        else:
            output, stream = model.step(stream, tokens[:, start])
            output = output[:, None]
        found.append(output)
        start += max(1, size)
    assert start == tokens.shape[1] == stream.count - before
    return torch.cat(found, 1), stream


def splits(length, chunk):
    """Ways to cut ``length`` tokens, in step with chunks and out of it."""
    ways = {
        "at once": [length],
        "two halves": [length // 2, length - length // 2],
        "by chunks": [chunk] * (length // chunk) + [length % chunk],
        "across": [1, 2 * chunk + 1],
        "mixed": [0, 0, chunk, 0, chunk + 1, 0, 1],
    }
    for name, sizes in ways.items():
        kept, left = [], length
        for size in [*sizes, length]:
            if left and (size or name == "mixed"):
                size = min(size, left)
                kept.append(size)
                left -= max(1, size)
        yield name, kept


@contextlib.contextmanager
def refuses(error, *words):
    """Expect an error with these words in this order; with annotations checked, one of them may be faster."""
    with pytest.raises((error, jaxtyping.TypeCheckError)) as caught:
        yield
    if not isinstance(caught.value, jaxtyping.TypeCheckError):
        pattern = ".*".join(map(re.escape, words))
        assert re.search(pattern, str(caught.value), re.DOTALL), str(caught.value)
