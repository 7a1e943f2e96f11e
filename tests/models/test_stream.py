"""Streams as values: forked, measured, saved, and refused where they do not belong."""

import copy
import gc
import pickle

import pytest
import torch
from safetensors.torch import load, save

from models.subjects import decoder, draw, psm, refuses, stream_by
from scannable import PrefixScannable
from scannable.modules import GatedSum, Inference, VectorEncoder

MODELS = {
    "slot": lambda: psm(),
    "learned": lambda: psm(identity="learned", positions="global"),
    "decoder": lambda: decoder(),
}


def same(one, other):
    """Whether two streams hold the same bits."""
    one, other = one.tensors(), other.tensors()
    return one.keys() == other.keys() and all(torch.equal(x, other[name]) for name, x in one.items())


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("count", [0, 1, 4, 6, 13])
def test_a_fork_goes_both_ways_and_leaves_the_stream_as_it_was(make, count):
    model, past = make(), draw(2, count)
    with torch.no_grad():
        _, stream = stream_by(model, past, [count] if count else [])
        before = stream.tensors()
        for seed in (1, 2):
            future = draw(2, 7, seed=seed)
            got, _ = model.prefill(stream, future, logits="all")
            assert torch.allclose(got, model(torch.cat([past, future], 1))[:, count:], atol=1e-10)
            model.step(stream, future[:, 0])
    assert all(torch.equal(x, before[name]) for name, x in stream.tensors().items())


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("count", [0, 1, 4, 6, 13])
def test_a_stream_comes_back_from_a_file_as_it_was(make, count):
    model = make()
    with torch.no_grad():
        _, stream = stream_by(model, draw(2, count), [count] if count else [])
        restored = model.restore(load(save(stream.tensors())))
        assert same(restored, stream)
        assert (restored.count, restored.batch, restored.nbytes > 0) == (count, 2, stream.nbytes > 0)
        one, other = (stream_by(model, draw(2, 3), [0, 2], s)[0] for s in (restored, stream))
    assert torch.equal(one, other)


def saved(model, count=6, batch=2):
    with torch.no_grad():
        return stream_by(model, draw(batch, count), [count])[1].tensors()


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_stream_that_was_read_under_autocast_comes_back(make):
    model, tokens = make().float(), draw(1, 9)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            _, stream = model.prefill(model.start(), tokens)
            kept = stream.tensors()
            assert same(model.restore(kept), stream)
        assert same(model.restore(kept), stream)


def test_a_stream_of_a_wider_model_is_refused():
    model = MODELS["decoder"]().float()
    kept = saved(model)
    model.bfloat16()
    with refuses(ValueError, "torch.bfloat16", "torch.float32", "resume it with the model that wrote it"):
        model.restore(kept)


def test_a_copied_stream_merges_with_the_aggregator_of_its_model():
    model, tokens = psm(), draw(1, 24)
    with torch.no_grad():
        _, stream = model.prefill(model.start(), tokens[:, :9])
        copied = copy.deepcopy(stream)
        for weight in model.aggregator.parameters():
            weight.mul_(1.5)
        for sizes in ([15], [0] * 15):
            found, expected = (stream_by(model, tokens[:, 9:], sizes, one)[0] for one in (copied, stream))
            assert torch.equal(found, expected)


def test_a_saved_stream_holds_plain_numbers_and_tensors_only():
    named = saved(psm())
    assert named["count"] == 6
    assert named["batch"] == 2
    assert sorted(named.keys() - {"count", "batch"}, key=int) == [str(i) for i in range(len(named) - 2)]


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_stream_of_another_model_is_refused(make):
    model = make()
    others = [
        psm(width=8),
        psm(chunk=3),
        decoder(width=8),
        decoder(layers=3),
        psm().float(),
        decoder().float(),
    ]
    for other in [*others, psm() if make is MODELS["decoder"] else decoder()]:
        with refuses(ValueError, "must have the tensors of this model's streams after 6 tokens", "wrote it"):
            model.restore(saved(other))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_broken_file_is_refused(make):
    model = make()
    good = saved(model)
    names = sorted(good.keys() - {"count", "batch"})
    broken = [{k: x for k, x in good.items() if k != name} for name in good]
    broken += [good | {"more": torch.zeros(1)}, {}, good | {"plan": torch.zeros(3, dtype=torch.uint8)}]
    broken += [
        good | {name: good[name][:, :0]} for name in names if good[name].dim() > 1 and good[name].numel()
    ]
    broken += [good | {name: good[name].bool()} for name in names]
    for count in (7, 5, 2, -1, 2**40, 2**60):
        broken.append(good | {"count": torch.tensor(count)})
    for count in (torch.tensor(6.0), torch.tensor([6]), torch.tensor(True)):
        broken.append(good | {"count": count})
    broken += [good | {"batch": torch.tensor(batch)} for batch in (0, 1, 3, 2**40)]
    for named in broken:
        with refuses(ValueError):
            model.restore(named)
    assert same(model.restore(good), model.restore(good))


def test_what_is_wrong_is_named():
    model = psm()
    good = saved(model)
    with refuses(ValueError, "whole number 'count' from 0", "got None", "Stream.tensors()"):
        model.restore({})
    with refuses(ValueError, "whole number 'batch' from 1", "got 0"):
        model.restore(good | {"batch": torch.tensor(0)})
    with refuses(ValueError, "'0' being (torch.float64, (2, 6, 2, 8))", "(torch.float32, (2, 6, 2, 8))"):
        model.restore(good | {"0": good["0"].float()})


def test_a_saved_token_that_is_none_is_refused_when_it_is_read():
    model = psm()
    named = saved(model)
    chunk = next(name for name, x in named.items() if x.dtype == torch.long and x.dim())
    stream = model.restore(named | {chunk: named[chunk] + 1000})
    with refuses(ValueError, "in 0..10"):
        model.prefill(stream, draw(2, 2))


def test_nbytes_counts_memory_once():
    model = psm()
    start = model.start(2).nbytes
    assert start == 2 * 4 * 16 * 8  # the empty prefix
    _, stream = stream_by(model, draw(2, 4), [0] * 4)
    # The only leaf is root and fold; and the cache holds keys and values of both layers.
    assert stream.nbytes == 2 * start + 2 * 2 * start


def test_a_detached_stream_forgets_gradients_and_nothing_else():
    model = psm(chunk=4)
    tokens = draw(2, 11)
    _, stream = model.prefill(model.start(2), tokens)
    cut = stream.detach()
    assert cut.count == stream.count
    assert any(x.requires_grad for x in stream._flatten()[0] if isinstance(x, torch.Tensor))
    assert not any(x.requires_grad for x in cut._flatten()[0] if isinstance(x, torch.Tensor))
    assert torch.equal(model.step(cut, tokens[:, 0])[0], model.step(stream, tokens[:, 0])[0])


def test_a_stream_of_pieces_of_a_long_text_keeps_only_its_own():
    class Sums(Inference):
        def forward(self, prefix, tokens):
            return tokens.cumsum(1) + prefix.sum(1, keepdim=True)

    model = PrefixScannable(VectorEncoder(), GatedSum(8), Sums(), chunk=4, token_shape=(8,))
    text = torch.randn(1, 1000, 8)
    with torch.no_grad():
        _, stream = model.step(model.start(), text[:, 0])
        assert stream.nbytes < 1000
        _, stream = model.prefill(stream, text[:, 1:999])
    assert stream.nbytes < 8000


def test_parts_that_do_not_fit_are_refused_when_a_model_is_put_together():
    with refuses(TypeError, "modules.Inference", "Identity", "derive"):
        PrefixScannable(VectorEncoder(), GatedSum(8), torch.nn.Identity(), chunk=4)
    with refuses(TypeError, "must be a tensor", "list"):
        psm()([[1, 2]])


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_streams_of_models_that_are_gone_are_never_taken_for_anothers(make):
    """An id comes again when a model is freed."""
    streams = [make().start(2) for _ in range(8)]
    gc.collect()
    for stream in streams:
        with refuses(ValueError, "belongs to another model", "model.restore(stream.tensors())"):
            make().prefill(stream, draw(2, 3))


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_of_a_model_takes_its_streams_over_when_it_is_told(make, copied):
    model, tokens = make(), draw(2, 6)
    with torch.no_grad():
        _, stream = model.prefill(model.start(2), tokens)
        twin, carried = copied((model, stream))
        with refuses(ValueError, "belongs to another model", "model.restore(stream.tensors())"):
            twin.step(carried, tokens[:, 0])
        expected, _ = model.step(stream, tokens[:, 0])
        for one, other in ((model, carried), (twin, twin.restore(carried.tensors()))):
            assert torch.equal(one.step(other, tokens[:, 0])[0], expected)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_what_is_no_stream_and_no_number_is_refused(make):
    model, token = make(), draw(2, 1)
    for read in (
        lambda: model.prefill(None, token),
        lambda: model.stepper({}),
        lambda: model.stepper(model.start(2)).load(None),
    ):
        with refuses(TypeError, "A stream must be what a model's start, prefill or restore returned, got "):
            read()
    for batch in (2.5, True, "2"):
        with refuses(TypeError, f"A batch must be a whole number of texts, got {batch!r}"):
            model.start(batch)
