"""Every checker catches the fault that it is for: broken subjects must fail, and by the right finding."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import scannable as sc
from operators import Either, Learned, Maximum, Skew, Sum, draw_skew
from scannable import Counter, testing
from scannable.scans import _counter, _scan, _tree
from toy_models import ToyPSM, ToyStream

TOKENS = torch.randint(0, 11, (2, 20), generator=torch.Generator().manual_seed(0))
LEAVES = torch.randn(2, 13, 8, generator=torch.Generator().manual_seed(0))


def assert_caught(report, *findings):
    """The report fails, and the named findings are among those that do."""
    failed = {finding.what for finding in report.findings if finding.passed is False}
    assert set(findings) <= failed, f"\n{report}"
    assert not report.passed


# Faults of an aggregator.


class WithIdentity(Sum):
    def __init__(self, identity):
        self.identity = identity


IDENTITIES = {
    "form": lambda like: torch.zeros_like(like).double(),
    "the same when asked again": torch.randn_like,
    "independent of the values in `like`": lambda like: like * 2,
    "the same for a batch of one": lambda like: torch.full_like(like, len(like)),
}


@pytest.mark.parametrize("fault", IDENTITIES)
def test_check_identity(fault):
    assert_caught(testing.check_identity(WithIdentity(IDENTITIES[fault]), LEAVES[:, 0]), fault)


def test_check_identity_when_forms_forget_it(monkeypatch):
    monkeypatch.setattr(Counter, "prefix", property(lambda self: torch.ones_like(self.empty_prefix)))
    assert_caught(testing.check_identity(Sum(), LEAVES[:, 0]), "what a counter gives for no leaves")


class AlmostSum(Sum):
    def combine(self, left, right):
        return left + right + 1e-9 * left * right * right


def test_check_associative():
    report = testing.check_associative(AlmostSum(), LEAVES)
    assert_caught(report, "largest deviation")
    assert report["largest deviation"] < 1e-6


class Conjugating(Sum):
    """Wrong in the imaginary part only."""

    def combine(self, left, right):
        return torch.complex(torch.zeros_like(left.real), 2 * left.imag - right.imag)


def test_check_associative_of_complex_states():
    report = testing.check_associative(Conjugating(), torch.randn(2, 5, dtype=torch.complex64))
    assert_caught(report, "largest deviation")


def test_check_duality_beside_infinities(monkeypatch):
    push = Counter.push
    monkeypatch.setattr(Counter, "push", lambda self, leaf: push(self, leaf + (self.count == 6) * 1e-7))
    leaves = torch.arange(26.0).reshape(2, 13)
    leaves[:, 0] = -torch.inf
    report = testing.check_duality(Maximum(), leaves)
    assert_caught(report, "float64: largest relative distance")
    assert report.difference < 1e-6


class InfiniteSteps(ToyPSM):
    def step(self, stream, token):
        logits, stream = super().step(stream, token)
        return logits / 0, stream


def test_check_duality_of_infinity_on_one_side():
    assert_caught(testing.check_duality(InfiniteSteps(), TOKENS), DISTANCE, "float32: largest error")


def test_check_counts_of_merges_with_the_identity_of_bool(monkeypatch):
    extend = Counter.extend

    def merge_the_identity(self, leaves):
        self.aggregator.combine(self.empty_prefix, self.empty_prefix)
        return extend(self, leaves)

    monkeypatch.setattr(Counter, "extend", merge_the_identity)
    for leaves in (LEAVES > 0, LEAVES.long(), LEAVES * torch.nan):
        assert_caught(
            testing.check_counts(Either() if leaves.dtype == torch.bool else Sum(), leaves),
            "merges with an identity",
        )


class PeekingMixer(sc.PrefixScannableMixer):
    def forward(self, tokens):
        return super().forward(tokens) + 1e-6 * tokens.roll(-1, 1)


def test_checks_of_vectors():
    mixer, vectors = PeekingMixer(16, chunk=4), torch.randn(2, 9, 16)
    assert_caught(testing.check_causal(mixer, vectors), "effect of a later token")
    assert_caught(testing.check_duality(mixer, vectors), DISTANCE)


class Mixing(Sum):
    """Let rows of a batch see one another."""

    def combine(self, left, right):
        return left + right + 1e-6 * right.mean(0)


def test_check_batch_independent_of_an_aggregator():
    assert_caught(
        testing.check_batch_independent(Mixing(), LEAVES), "effect of being alone", "effect of other rows"
    )


# Faults of the scans under an aggregator.


def test_check_batch_independent_of_the_last_leaf_too():
    assert_caught(testing.check_batch_independent(Mixing(), LEAVES[:, :2]), "effect of being alone")


class Huge(Sum):
    """One channel that all others vanish beside, and a random one."""

    def combine(self, left, right):
        merged = left + right
        return torch.stack([left[..., 0], torch.rand_like(merged[..., 1])], -1)


def test_check_duality_beside_a_channel_that_hides_others():
    leaves = LEAVES[..., :2].clone()
    leaves[..., 0] = 1e16
    assert_caught(testing.check_duality(Huge(), leaves), "float64: largest relative distance")


class OffByRows(Sum):
    def combine(self, left, right):
        return torch.maximum(left, right) + int(len(left) > 2)


@pytest.mark.parametrize("size", [10**3, 10**15, 2**60])
def test_checks_of_integers_of_any_size(size):
    leaves = size + torch.randint(0, 99, (1, 40, 3))
    assert_caught(testing.check_duality(OffByRows(), leaves), "float64: largest relative distance")
    both = leaves.repeat(2, 1, 1)
    assert_caught(testing.check_batch_independent(OffByRows(), both), "effect of being alone")


class Overwriting(Sum):
    def combine(self, left, right):
        return torch.maximum(left, right, out=left)


def test_check_duality_of_an_operator_that_writes_into_its_operands():
    assert_caught(testing.check_duality(Overwriting(), LEAVES), "operands of combine left as they are")


def test_check_duality_of_an_aggregator_when_push_swaps_operands(monkeypatch):
    class Swapped(_tree.Merge):
        def __call__(self, left, right):
            return super().__call__(right, left)

    monkeypatch.setattr(_counter, "Merge", Swapped)
    assert_caught(testing.check_duality(Learned(8), LEAVES), "float64: largest relative distance")


def test_check_duality_of_an_aggregator_when_a_leaf_is_off_by_1e_7(monkeypatch):
    push = Counter.push
    monkeypatch.setattr(Counter, "push", lambda self, leaf: push(self, leaf + (self.count == 6) * 1e-7))
    report = testing.check_duality(Learned(8), LEAVES)
    assert_caught(report, "float64: largest relative distance")
    assert report.difference < 1e-6


def test_check_duality_of_an_aggregator_when_gradients_stop(monkeypatch):
    push = Counter.push
    monkeypatch.setattr(Counter, "push", lambda self, leaf: push(self, leaf.detach()))
    report = testing.check_duality(Learned(8), LEAVES, gradients=True)
    assert_caught(report, "float64: largest relative distance of gradients")
    assert report["float64: largest relative distance"] <= 1e-12


def test_check_counts_of_merges_with_the_identity(monkeypatch):
    push = Counter.push

    def merge_the_identity(self, leaf):
        if self.count == 0:
            leaf = self.aggregator.combine(self.empty_prefix, leaf)
        return push(self, leaf)

    monkeypatch.setattr(Counter, "push", merge_the_identity)
    report = testing.check_counts(Learned(8), LEAVES)
    assert_caught(report, "merges with an identity", "merges besides the formula")


def test_check_counts_of_extra_merges_and_calls(monkeypatch):
    class Twice(_tree.Merge):
        def __call__(self, left, right):
            super().__call__(left, right)
            return super().__call__(left, right)

    monkeypatch.setattr(_scan, "Merge", Twice)
    report = testing.check_counts(Learned(8), LEAVES)
    assert_caught(report, "merges besides the formula", "batched calls beyond the formula")


def test_check_counts_of_roots_that_are_kept_too_long(monkeypatch):
    push = Counter.push

    def hoard(self, leaf):
        after = push(self, leaf)
        return replace(after, roots=tuple(leaf if x is None else x for x in after.roots))

    monkeypatch.setattr(Counter, "push", hoard)
    assert_caught(testing.check_counts(Sum(), LEAVES), "counts whose roots are not their bits")


def test_check_resume_of_a_counter_that_is_no_value(monkeypatch):
    push = Counter.push

    def in_place(self, leaf):
        after = push(self, leaf)
        for fold in self.folds:
            if fold is not None:
                fold += 1
        return after

    monkeypatch.setattr(Counter, "push", in_place)
    leaves = LEAVES.clone()
    assert_caught(testing.check_resume(Sum(), leaves), "places where a forked stream's results differ")


# Faults of a model.


class Peeking(ToyPSM):
    """See one token ahead, inside a chunk, in the parallel form."""

    def forward(self, tokens):
        return super().forward(tokens) + 1e-6 * super().forward(tokens.roll(-1, 1))


class LateChunk(ToyPSM):
    """See the first token of the next chunk, from the last slot of a chunk only."""

    def forward(self, tokens):
        logits = super().forward(tokens)
        ahead = tokens[:, 3::3]
        logits[:, 2::3][:, : ahead.shape[1]] += 1e-6 * ahead[..., None]
        return logits


class FromTheEnd(ToyPSM):
    """Know how long the text will be."""

    def forward(self, tokens):
        return super().forward(tokens) * (1 + 1e-6 * tokens.shape[1])


class BatchMixing(ToyPSM):
    def forward(self, tokens):
        logits = super().forward(tokens)
        return logits + 1e-6 * logits.mean(0)


class MixingSteps(ToyPSM):
    def step(self, stream, token):
        logits, stream = super().step(stream, token)
        return logits + 1e-6 * logits.mean(0), stream


class WrongPosition(ToyPSM):
    """Restart positions with every prefill, though the chunk has begun already."""

    def prefill(self, stream, tokens, logits="last"):
        if stream.chunk.shape[1]:
            self.place.data = self.place.data.roll(1, 0)
        found = super().prefill(stream, tokens, logits)
        if stream.chunk.shape[1]:
            self.place.data = self.place.data.roll(-1, 0)
        return found


class SkippedMerge(ToyPSM):
    """Forget a chunk while streaming, once."""

    def step(self, stream, token):
        logits, after = super().step(stream, token)
        full = after.counter.count > stream.counter.count == 2
        return logits, replace(after, counter=stream.counter) if full else after


class OffBySmall(ToyPSM):
    """Read a token slightly wrong when stepping."""

    def step(self, stream, token):
        logits, after = super().step(stream, token)
        return logits + 1e-7, after


class WrongLast(ToyPSM):
    """Hand out the first logits of a piece where the last are asked for."""

    def prefill(self, stream, tokens, logits="last"):
        found, stream = super().prefill(stream, tokens, "all")
        return (found if logits == "all" else found[:, 0]), stream


class CoarseStream(ToyPSM):
    """Compute the same function, but stream with fewer digits."""

    def step(self, stream, token):
        logits, stream = super().step(stream, token)
        return (logits.half().float() if logits.dtype == torch.float32 else logits), stream


class NoisyStream(ToyPSM):
    """Lose the last few bits in every second chunk, by less than bounds on the error itself would tell."""

    def step(self, stream, token):
        odd = stream.counter.count % 2
        logits, stream = super().step(stream, token)
        return logits * (1 + 1e-6 * odd) if logits.dtype == torch.float32 else logits, stream


class DetachedStream(ToyPSM):
    @torch.no_grad()
    def step(self, stream, token):
        return super().step(stream, token)


class FoldingAgain(ToyPSM):
    """Fold all roots again after every chunk."""

    def step(self, stream, token):
        logits, after = super().step(stream, token)
        if after.counter.count > stream.counter.count:
            roots = [root for root in after.counter.roots if root is not None]
            for root in roots[1:]:
                self.aggregator.combine(root, roots[0])
        return logits, after


class MergingTwice(ToyPSM):
    def forward(self, tokens):
        super().forward(tokens)
        return super().forward(tokens)


class Hoarding(ToyPSM):
    """Keep every token."""

    def step(self, stream, token):
        logits, after = super().step(ToyStream(stream.counter, stream.chunk), token)
        hoard = torch.cat([getattr(stream, "hoard", token[:, None][:, :0]), token[:, None]], 1)
        return logits, HoardingStream(after.counter, after.chunk, hoard)


class HoardingStream(ToyStream):
    def __init__(self, counter, chunk, hoard):
        super().__init__(counter, chunk)
        object.__setattr__(self, "hoard", hoard)

    @property
    def nbytes(self):
        return super().nbytes + 1000 * self.hoard.shape[1]


class Forgetful(ToyPSM):
    """Lose the open chunk when restored."""

    def restore(self, tensors):
        stream = super().restore(tensors)
        return replace(stream, chunk=torch.zeros_like(stream.chunk))


class Shared(ToyPSM):
    """Keep the open chunk in the model: streams are no values."""

    def start(self, batch):
        self.open = super().start(batch).chunk
        return super().start(batch)

    def restore(self, tensors):
        self.open = tensors["chunk"]
        return super().restore(tensors)

    def prefill(self, stream, tokens, logits="last"):
        found, stream = super().prefill(replace(stream, chunk=self.open), tokens, logits)
        self.open = stream.chunk
        return found, stream

    def step(self, stream, token):
        found, stream = super().step(replace(stream, chunk=self.open), token)
        self.open = stream.chunk
        return found, stream


DISTANCE = "float64: largest relative distance"


@pytest.mark.parametrize("model", [WrongPosition, SkippedMerge, OffBySmall, WrongLast, FromTheEnd, Peeking])
def test_check_duality(model):
    assert_caught(testing.check_duality(model(), TOKENS), DISTANCE)


def test_check_duality_in_float32_only():
    report = testing.check_duality(NoisyStream(), TOKENS)
    assert_caught(report, "float32: error over the parallel form's")
    report = testing.check_duality(CoarseStream(), TOKENS)
    assert_caught(report, "float32: error over the parallel form's", "float32: largest error")
    assert report.difference <= 1e-12


def test_check_duality_of_gradients():
    model = DetachedStream()
    assert testing.check_duality(model, TOKENS).passed
    report = testing.check_duality(model, TOKENS, gradients=True)
    assert_caught(report, "float64: largest relative distance of gradients")


class OtherPredictions(ToyPSM):
    def step(self, stream, token):
        logits, stream = super().step(stream, token)
        return (logits.roll(1, -1) if logits.dtype == torch.float32 else logits), stream


def test_check_duality_of_predictions():
    assert_caught(testing.check_duality(OtherPredictions(), TOKENS), "float32: other predictions")


class NotANumber(ToyPSM):
    def step(self, stream, token):
        logits, stream = super().step(stream, token)
        return logits * torch.nan, stream


def test_check_duality_of_nan():
    assert_caught(testing.check_duality(NotANumber(), TOKENS), DISTANCE, "float32: largest error")


class Masked(ToyPSM):
    """Predict none of some tokens, and stream other numbers for the rest."""

    mask = -torch.inf

    def forward(self, tokens):
        return self._masked(super().forward(tokens.flip(1)))

    def prefill(self, stream, tokens, logits="last"):
        found, stream = super().prefill(stream, tokens, logits)
        return self._masked(torch.randn_like(found)), stream

    def step(self, stream, token):
        found, stream = super().step(stream, token)
        return self._masked(torch.randn_like(found)), stream

    def _masked(self, logits):
        return torch.cat([logits, torch.full_like(logits[..., :3], self.mask)], -1)


@pytest.mark.parametrize("mask", [-torch.inf, -1e9, -1e30, torch.finfo(torch.float32).min])
def test_checks_beside_masked_logits(mask):
    model = Masked()
    model.mask = mask
    assert_caught(
        testing.check_duality(model, TOKENS),
        "float64: largest relative distance",
        "float32: other predictions",
    )
    assert_caught(testing.check_causal(model, TOKENS), "effect of a later token")


@pytest.mark.parametrize("places", [1, 2, 3])
def test_check_causal_at_few_places(places):
    testing.assert_causal(ToyPSM(), TOKENS, places=places)
    assert_caught(testing.check_causal(FromTheEnd(), TOKENS, places=places), "effect of the length")


@pytest.mark.parametrize("model", [Peeking, LateChunk])
def test_check_causal(model):
    assert_caught(testing.check_causal(model(), TOKENS), "effect of a later token")


def test_check_causal_of_the_length():
    report = testing.check_causal(FromTheEnd(), TOKENS)
    assert_caught(report, "effect of the length")
    assert report["effect of a later token"] == 0


@pytest.mark.parametrize("model", [BatchMixing, MixingSteps])
def test_check_batch_independent(model):
    report = testing.check_batch_independent(model(), TOKENS)
    assert_caught(report, "effect of being alone", "effect of other rows")


def test_check_counts():
    report = testing.check_counts(FoldingAgain(), TOKENS)
    assert_caught(report, "merges beyond the formula, streaming")
    assert report["merges beyond the formula, parallel"] == 0
    assert_caught(testing.check_counts(MergingTwice(), TOKENS), "merges beyond the formula, parallel")


def test_check_counts_of_memory():
    assert testing.check_counts(ToyPSM(), TOKENS, memory=0.5).passed
    assert_caught(testing.check_counts(Hoarding(), TOKENS, memory=0.5), "memory exponent")


class Quadratic(ToyPSM):
    def forward(self, tokens):
        tokens_squared = torch.ones(tokens.shape[1], 64)
        return super().forward(tokens) + 0 * (tokens_squared @ tokens_squared.T).sum()


def test_check_counts_of_work():
    assert_caught(testing.check_counts(Quadratic(), TOKENS.repeat(1, 8), work=1.5), "work exponent")


def test_check_resume_of_a_saved_stream():
    assert_caught(
        testing.check_resume(Forgetful(), TOKENS[:, :8]), "places where a saved stream's results differ"
    )


def test_check_resume_of_a_forked_stream():
    report = testing.check_resume(Shared(), TOKENS[:, :8])
    assert_caught(report, "places where a forked stream's results differ")


def test_every_fault_is_a_fault_of_a_sound_model():
    """The faults are caught, and not something that the toys have in common."""
    for law in ("duality", "causal", "batch_independent", "counts", "resume"):
        getattr(testing, f"assert_{law}")(ToyPSM(), TOKENS[:, :11])
    assert isinstance(ToyPSM(), nn.Module)
    testing.assert_duality(Skew(), draw_skew(2, 9))
