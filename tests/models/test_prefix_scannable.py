"""Any encoder, aggregator and inference module of a few lines make a model; misuse is refused in words."""

import pytest
import torch
from torch import nn

from models.subjects import VOCABULARY, decoder, draw, psm, refuses, stir, stream_by
from scannable import PrefixScannable
from scannable.modules import MLP, GatedSum, Inference, MatrixProduct, TreeLSTM
from scannable.scans import reference
from scannable.testing._subject import relative

WIDTH = 4


class Sum(nn.Module):
    """A chunk is the sum of its tokens' vectors, as often as a state asks for."""

    def __init__(self, *shape, pair=False):
        super().__init__()
        self.table, self.pair = nn.Parameter(torch.randn(VOCABULARY, *shape)), pair

    def forward(self, tokens):
        state = self.table[tokens].sum(1)
        return (state, state.sin()) if self.pair else state


class Read(Inference):
    """A running sum of the chunk, multiplied by the prefix."""

    def __init__(self, reads_identity):
        super().__init__()
        self.table = nn.Parameter(torch.randn(VOCABULARY, WIDTH))
        self.reads_identity = reads_identity

    def forward(self, prefix, tokens):
        seen = torch.cumsum(self.table[tokens], 1)
        if prefix is None:
            return seen
        vector = prefix[0] if isinstance(prefix, tuple) else prefix
        return seen * (vector.sum(-1) if vector.dim() == 3 else vector)[:, None] + 1


AGGREGATORS = {
    "gated sum": (GatedSum(WIDTH), Sum(WIDTH)),
    "MLP": (MLP(WIDTH, 8), Sum(WIDTH)),
    "tree-LSTM": (TreeLSTM(WIDTH), Sum(WIDTH, pair=True)),
    "matrix product": (MatrixProduct(), Sum(WIDTH, WIDTH)),
}


@pytest.mark.parametrize("reads_identity", [True, False])
@pytest.mark.parametrize(("aggregator", "encoder"), AGGREGATORS.values(), ids=AGGREGATORS)
def test_parts_of_a_few_lines_make_one_function(aggregator, encoder, reads_identity):
    model = stir(PrefixScannable(encoder, aggregator, Read(reads_identity), chunk=3))
    tokens = draw(2, 17)
    with torch.no_grad():
        expected = model(tokens)
        for sizes in ([0] * 17, [17], [2, 5, 0, 9]):
            got, stream = stream_by(model, tokens, sizes)
            assert relative(got, expected) < 1e-12
        restored = model.restore(stream.tensors())
        one, other = (model.step(s, tokens[:, 0])[0] for s in (stream, restored))
    assert torch.equal(one, other)


def test_the_model_is_its_definition():
    """Chunk ``i`` is read with the reference's state of the ``i`` chunks before it."""
    aggregator, encoder = AGGREGATORS["MLP"]
    model, tokens = stir(PrefixScannable(encoder, aggregator, Read(True), chunk=3)), draw(2, 17)
    with torch.no_grad():
        leaves = torch.stack([encoder(tokens[:, s : s + 3]) for s in range(0, 15, 3)], 1)
        chunks = [
            model.inference(reference.prefix_state(aggregator, leaves, i), tokens[:, 3 * i : 3 * i + 3])
            for i in range(6)
        ]
        assert relative(model(tokens), torch.cat(chunks, 1)) < 1e-12


def test_an_aggregator_need_not_be_a_module():
    class Latest:
        def combine(self, left, right):
            return right

        def identity(self, like):
            return torch.zeros_like(like)

    model = stir(PrefixScannable(Sum(WIDTH), Latest(), Read(True), chunk=2))
    assert torch.equal(model(draw(1, 9)), stream_by(model, draw(1, 9), [0] * 9)[0])


@pytest.mark.parametrize("make", [psm, decoder])
class TestMisuse:
    """The same words for every model, in both forms."""

    def test_tokens(self, make):
        model, good = make(), draw(2, 5)
        bad = [
            (good[0], ValueError, ["(B >= 1, T)", "got (5,)", "batch first"]),
            (good[:, :, None], ValueError, ["got (2, 5, 1)"]),
            (good[:0], ValueError, ["B >= 1", "got (0, 5)"]),
            (good.double(), TypeError, ["torch.int64", "torch.float64", ".long()"]),
            (good + 11, ValueError, ["in 0..10", "another vocabulary"]),
            (-1 - good, ValueError, ["in 0..10", "from -"]),
            (good.to("meta"), ValueError, ["the model's device, cpu", "got meta", ".to()"]),
        ]
        for tokens, error, words in bad:
            with refuses(error, *words):
                model(tokens)
            with refuses(error, *words):
                model.prefill(model.start(2), tokens)

    def test_batches(self, make):
        model = make()
        for stream in (model.start(2), model.prefill(model.start(2), draw(2, 3))[1]):
            with refuses(ValueError, "a batch of 2", "(3, 5)", "each batch size"):
                model.prefill(stream, draw(3, 5))
            with refuses(ValueError, "a batch of 2", "(1, 1)"):
                model.step(stream, draw(1, 1)[:, 0])
            with refuses(ValueError, "one token of each text", "shape ()", "batch axis"):
                model.step(stream, torch.tensor(3))
        with refuses(ValueError, "at least one text", "batch=0", "skip"):
            model.start(0)

    def test_outputs(self, make):
        model, tokens = make(), draw(2, 5)
        with refuses(ValueError, "no last output", "T=0", "logits='all'"):
            model.prefill(model.start(2), tokens[:, :0])
        with refuses(ValueError, "'last' or 'all'", "got 'first'"):
            model.prefill(model.start(2), tokens, logits="first")
        stream = model.prefill(model.start(2), tokens)[1]
        nothing, same = model.prefill(stream, tokens[:, :0], logits="all")
        assert nothing.shape == (2, 0, 11)
        assert same is stream
        assert model(tokens[:, :0]).shape == (2, 0, 11)

    def test_streams(self, make):
        model, other = make(), psm()
        with refuses(ValueError, "belongs to another model", "with its own"):
            model.step(other.start(2), draw(2, 1)[:, 0])


def test_a_psm_refuses_the_decoders_stream():
    with refuses(ValueError, "belongs to another model"):
        psm().step(decoder().start(1), draw(1, 1)[:, 0])


def test_a_chunk_holds_a_token():
    aggregator, encoder = AGGREGATORS["MLP"]
    with refuses(ValueError, "at least one token", "chunk=0", "raise it"):
        PrefixScannable(encoder, aggregator, Read(True), chunk=0)


def test_what_an_aggregator_does_wrong_is_told():
    class Wrong(GatedSum):
        def combine(self, left, right):
            return super().combine(left, right)[..., :2]

    model = stir(PrefixScannable(Sum(WIDTH), Wrong(WIDTH), Read(True), chunk=2))
    with refuses(ValueError, "merged state must be", "(2, 4)", "got", "(2, 2)"):
        model(draw(1, 9))
