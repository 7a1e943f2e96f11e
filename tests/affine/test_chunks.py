"""The parts of the fast forms: the layout in chunks, decayed scores, windows, the running peak."""

import itertools

import pytest
import torch

from affine.cases import distance, offsets_of
from scannable.affine._decays import factors, segments
from scannable.affine._layout import Layout
from scannable.affine._peak import running_peak
from scannable.affine._scores import weigh
from scannable.affine._window import Window, convolve

LENGTHS = [None, [8, 0, 1, 3, 4, 7], [23], [1] * 23, [0, 23, 0], [4, 4, 4, 11]]


def batch_and_length(lengths):
    return (3, 10) if lengths is None else (1, sum(lengths))


@pytest.mark.parametrize("size", [1, 2, 4, 16])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_chunks_hold_every_token_once_and_zeros_behind(lengths, size):
    batch, length = batch_and_length(lengths)
    layout = Layout(batch, length, 2, lengths, size)
    x = torch.arange(1.0, 1 + batch * length * 2).view(batch, length, 2)
    chunks = layout.fold(x)
    assert torch.equal(layout.unfold(chunks), x)
    assert sorted(chunks[chunks != 0].tolist()) == x.flatten().tolist()
    counts = [-(-n // size) for n in ([length] * batch if lengths is None else lengths)]
    assert sum(layout.steps) == 2 * sum(counts)
    assert chunks.shape == (2 * sum(counts), size)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_rows_of_one_rank_are_those_of_the_first_states_in_the_order_of_the_loop(lengths):
    batch, length = batch_and_length(lengths)
    layout = Layout(batch, length, 2, lengths, 4)
    ends = [length] * batch if lengths is None else lengths
    states = torch.arange(2 * len(ends)).view(-1, 2)
    order = layout.sort(states)
    assert torch.equal(layout.unsort(order), states)
    # Each token tells its state and its place in its sequence.
    of_token = torch.cat([state.expand(n, 2) for state, n in zip(states, ends, strict=True)])
    places = torch.cat([torch.arange(n) for n in ends])[:, None].expand_as(of_token)
    tokens = torch.stack([of_token, places], -1).view(batch, length, 2, 2)
    for rank, rows in enumerate(layout.fold(1 + tokens).split(layout.steps)):
        for state, row in zip(order.tolist(), rows.tolist(), strict=False):
            held = [(s - 1, t - 1) for s, t in row if s]
            assert held
            assert held == [(state, 4 * rank + i) for i in range(len(held))]


@pytest.mark.parametrize("infinite", [False, True], ids=["finite", "infinite"])
@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("kind", ["none", "scalar", "diagonal"])
@pytest.mark.parametrize("size", [1, 2, 8])
def test_scores_are_products_with_the_decay_of_the_very_segment(size, kind, before, infinite):
    q, k = torch.randn(2, 3, size, 4).double()
    decay = -torch.rand(3, size, 4).double()
    if infinite:
        decay = decay.masked_fill(torch.rand_like(decay) < 0.3, -torch.inf)
    decay = decay[..., :1].expand_as(decay) if kind == "scalar" else decay
    gate = torch.ones_like(decay) if kind == "none" else decay.exp()
    given = {"none": None, "scalar": decay[..., 0], "diagonal": decay}[kind]
    weighed = weigh(q, k, given, torch.float64, before=before, erasing=True)
    for reading, x, late in ((weighed.queries, q, before), (weighed.keys, k, False)):
        for t, s in itertools.product(range(size), repeat=2):
            between = gate[:, s + 1 : t + 1 - late].prod(1)
            expected = (x[:, t] * between * k[:, s]).sum(-1) if s <= t - late else torch.zeros(3).double()
            if reading is weighed.queries or s < t:
                assert torch.allclose(reading.scores[:, t, s], expected, rtol=1e-12, atol=1e-14)
        for t in range(size):
            since = gate[:, : t + 1 - late].prod(1)
            assert torch.allclose(reading.reads[:, t], since * x[:, t], rtol=1e-12, atol=0)
    for t in range(size):
        assert torch.allclose(weighed.writes[:, t], gate[:, t + 1 :].prod(1) * k[:, t], rtol=1e-12, atol=0)
    if kind == "none":
        assert weighed.kept is None
    else:
        kept = gate.prod(1)[..., None]
        assert torch.allclose(weighed.kept, kept[:, :1] if kind == "scalar" else kept, rtol=1e-12, atol=0)
    alone = weigh(q, k, given, torch.float64, before=before, erasing=False)
    assert alone.keys is None
    for got, expected in zip((*alone.queries, alone.writes), (*weighed.queries, weighed.writes), strict=True):
        assert torch.allclose(got, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("infinite", [False, True], ids=["finite", "infinite"])
@pytest.mark.parametrize("size", [1, 2, 4, 32])
def test_segments_are_each_summed_by_themselves(size, infinite):
    decay = -torch.rand(3, size).double()
    if infinite:
        decay = decay.masked_fill(torch.rand_like(decay) < 0.3, -torch.inf)
    parts, since, until, total = segments(decay)
    seen, gate = factors(parts), decay.exp()
    for t, s in itertools.product(range(size), repeat=2):
        expected = gate[:, s + 1 : t + 1].prod(1) if s <= t else torch.zeros(3).double()
        assert torch.allclose(seen[:, t, s], expected, rtol=1e-12, atol=0)
    for t in range(size):
        assert torch.allclose(since[:, t].exp(), gate[:, : t + 1].prod(1), rtol=1e-12, atol=0)
        assert torch.allclose(until[:, t].exp(), gate[:, t + 1 :].prod(1), rtol=1e-12, atol=0)
    assert torch.allclose(total[:, 0].exp(), gate.prod(1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("reach", [0, 1, 3])
def test_a_window_sees_the_tokens_before_across_calls(length, reach):
    x, before = torch.randn(2, length, 4), torch.randn(2, reach, 4)
    window = Window(x, before, None, reach, torch.float32)
    everything = torch.cat([before, x], 1)
    for lag in range(reach + 1):
        assert torch.equal(window.back(lag), everything[:, reach - lag : reach - lag + length])
    assert torch.equal(window.kept, everything[:, length:])
    new = Window(x, None, None, reach, torch.float32)
    old = Window(x, torch.zeros(2, reach, 4), None, reach, torch.float32)
    assert all(torch.equal(new.back(lag), old.back(lag)) for lag in range(reach + 1))


@pytest.mark.parametrize("reach", [0, 1, 3])
@pytest.mark.parametrize("lengths", [[5, 0, 1, 2], [0], [], [0, 0, 8], [1, 1]], ids=str)
def test_a_window_does_not_see_packed_neighbours(lengths, reach):
    x, before = torch.randn(1, sum(lengths), 4), torch.randn(len(lengths), reach, 4)
    window = Window(x, before, lengths, reach, torch.float32)
    assert window.kept.shape == before.shape
    for i, (start, stop) in enumerate(itertools.pairwise(offsets_of(lengths))):
        alone = Window(x[:, start:stop], before[i : i + 1], None, reach, torch.float32)
        assert torch.equal(window.kept[i : i + 1], alone.kept)
        for lag in range(reach + 1):
            assert torch.equal(window.back(lag)[:, start:stop], alone.back(lag))


def test_what_a_window_keeps_is_a_small_copy_of_its_dtype():
    x = torch.randn(1, 100, 4, dtype=torch.bfloat16)
    for lengths in (None, [60, 40]):
        kept = Window(x, None, lengths, 2, torch.float32).kept
        assert kept.dtype == torch.float32
        assert kept.untyped_storage().nbytes() == kept.nbytes
    kept = Window(x, None, None, 2, torch.bfloat16).kept
    assert kept.untyped_storage().nbytes() == kept.nbytes
    assert torch.equal(Window(x[:, :0], kept.float(), None, 2, torch.float32).kept, kept.float())


def test_a_convolution_is_that_of_torch():
    x, before = torch.randn(2, 9, 4).double(), torch.randn(2, 3, 4).double()
    weight, bias = torch.randn(4, 4).double(), torch.randn(4).double()
    joined = torch.cat([before, x], 1).mT
    for given in (None, bias):
        expected = torch.nn.functional.conv1d(joined, weight[:, None], given, groups=4).mT
        found = convolve(Window(x, before, None, 3, torch.float64), weight, given)
        assert distance(found, expected) < 1e-15


@pytest.mark.parametrize("lengths", [None, [3, 0, 1, 2]], ids=str)
def test_derivatives_of_a_convolution_are_those_of_finite_differences(lengths):
    x, before = torch.randn(1, 6, 2).double(), torch.randn(4 if lengths else 1, 3, 2).double()
    given = [y.requires_grad_() for y in (x, before, torch.randn(2, 4).double(), torch.randn(2).double())]

    def call(x, before, weight, bias):
        return convolve(Window(x, before, lengths, 3, torch.float64), weight, bias)

    torch.autograd.gradcheck(call, given)
    torch.autograd.gradgradcheck(call, given)


def peak_by_hand(fall, rise, first):
    peak, peaks, before = first, [], []
    for t in range(fall.shape[1]):
        before.append(peak)
        peak = torch.maximum(peak + fall[:, t], rise[:, t].clamp(min=0))
        peaks.append(peak)
    return torch.stack(peaks, 1), torch.stack(before, 1), peak


@pytest.mark.parametrize("length", [1, 2, 3, 17])
def test_the_running_peak_is_a_loop(length):
    fall, rise = -torch.rand(2, length, 3).double(), 2 * torch.randn(2, length, 3).double()
    fall[0, length // 2, 0] = -torch.inf
    first = 3 * torch.rand(2, 3).double()
    for got, expected in zip(
        running_peak(fall, rise, first, None), peak_by_hand(fall, rise, first), strict=True
    ):
        assert distance(got, expected) < 1e-15


@pytest.mark.parametrize("lengths", [[5, 0, 1, 2], [0, 8], [1, 1, 0]], ids=str)
def test_running_peaks_of_packed_sequences_are_each_alone(lengths):
    length = sum(lengths)
    fall, rise = -torch.rand(1, length, 3).double(), 2 * torch.randn(1, length, 3).double()
    first = 3 * torch.rand(len(lengths), 3).double()
    peak, before, last = running_peak(fall, rise, first, lengths)
    for i, (start, stop) in enumerate(itertools.pairwise(offsets_of(lengths))):
        if start == stop:
            assert torch.equal(last[i], first[i])
            continue
        alone = peak_by_hand(fall[:, start:stop], rise[:, start:stop], first[i : i + 1])
        found = peak[:, start:stop], before[:, start:stop], last[i : i + 1]
        assert all(distance(x, y) < 1e-15 for x, y in zip(found, alone, strict=True))


def test_no_tokens_leave_the_peak_as_it_was():
    nothing, first = torch.zeros(2, 0, 3), torch.rand(2, 3)
    for lengths, first_states in ((None, first), ([0, 0], first)):
        shape = nothing if lengths is None else nothing[:1]
        peak, before, last = running_peak(shape, shape, first_states, lengths)
        assert peak.shape == before.shape == shape.shape
        assert torch.equal(last, first)
