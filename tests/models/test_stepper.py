"""Steps in place say what the value form says, and keep what it keeps, wherever they begin."""

import itertools

import pytest
import torch

from models.subjects import POSITIONS, VOCABULARY, decoder, draw, psm, refuses, stir
from scannable import AffineLanguageModel, AffineLanguageModelConfig
from scannable.models._stepper import ValueStepper, stepper
from scannable.models._stepper_base import InPlace
from scannable.models._stepper_graph import Programs
from scannable.models._stepper_slots import SlotStack
from scannable.models._stepper_states import StateStepper
from scannable.models._stepper_work import TORCH
from scannable.modules import Transformer, TransformerInference
from scannable.modules._rotary import angles

TRITON = "needs Triton, which torch for CUDA on Linux brings along"
LENGTH = 38
"""Nine chunks and a half: carries of every depth up to three, with and without a root above."""


def affine(row="gla", **options):
    return stir(AffineLanguageModel(AffineLanguageModelConfig(width=16, row=row, **options), VOCABULARY))


def close(found, expected, tolerance):
    return (found - expected).abs().max() <= tolerance * expected.abs().max()


def same(reader, stream, tolerance=1e-12):
    """Compare all that a stepper keeps with a stream of the value form."""
    found, expected = reader.stream().tensors(), stream.tensors()
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        assert found[name].shape == x.shape
        assert found[name].dtype == x.dtype
        assert not x.numel() or close(found[name].double(), x.double(), tolerance), name
    assert reader.stream().count == stream.count


@torch.no_grad()
def agrees(model, device, *, batch=1, start=0, length=LENGTH, tolerance=1e-12, **options):
    """Read a text in both forms; compare all logits and all streams."""
    model = model.to(device)
    tokens = draw(batch, length).to(device)
    stream = model.start(batch)
    if start:
        _, stream = model.prefill(stream, tokens[:, :start])
    reader = stepper(model, stream, **options)
    same(reader, stream, tolerance)
    for token in tokens[:, start:].T:
        expected, stream = model.step(stream, token)
        assert close(reader.step(token), expected, tolerance)
        same(reader, stream, tolerance)
    return reader


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("inference", ["concatenated", "cross"])
@pytest.mark.parametrize(
    ("batch", "switches"),
    [
        (1, {}),
        (3, {"identity": "learned", "tied": False}),
        (3, {"codebook": "own", "shared": True}),
        (1, {"aggregator_mask": "causal", "codebook": "tied", "norm": 2.0}),
    ],
)
def test_a_psm_steps_in_place_as_by_value(inference, positions, batch, switches, device):
    model = psm(inference=inference, positions=positions, **switches)
    assert isinstance(agrees(model, device, batch=batch), InPlace)


@pytest.mark.parametrize("start", range(1, 20))
def test_it_takes_over_at_any_place(start, device):
    agrees(psm(), device, batch=2, start=start, length=start + 9)


def test_in_float32_too(device):
    for inference in ("concatenated", "cross"):
        agrees(psm(inference=inference).float(), device, start=5, tolerance=1e-5)


@pytest.mark.parametrize("positions", ["absolute", "rotary", "none"])
@pytest.mark.parametrize("window", [1, 2, 5])
def test_a_window_is_a_ring(positions, window, device):
    for start in (0, 3, 11):
        reader = agrees(
            decoder(positions=positions, window=window), device, batch=2, start=start, length=start + 13
        )
        assert isinstance(reader, InPlace)


@pytest.mark.parametrize("row", ["gla", "mamba2", "gated-deltanet", "mamba", "mlstm"])
def test_an_affine_model_overwrites_its_states(row, device):
    assert isinstance(agrees(affine(row), device, batch=2, start=3, length=9), InPlace)


def test_a_decoder_that_sees_all_takes_steps_of_the_value_form(device):
    assert isinstance(agrees(decoder(), device, start=3, length=9), ValueStepper)


def test_an_affine_model_is_read_in_place_from_its_first_token(device):
    reader = agrees(model := affine(), device, length=3)
    assert isinstance(reader, StateStepper)
    reader.load(model.start(1))
    same(reader, model.start(1))
    agreed = model.step(model.start(1), token := draw(1, 1)[:, 0].to(device))[0]
    assert torch.equal(reader.step(token), agreed)


def test_a_model_of_other_parts_takes_steps_of_the_value_form():
    class Twice(TransformerInference):
        def step(self, *given):
            outputs, cache = super().step(*given)
            return 2 * outputs, cache

    model, tokens = psm(), draw(1, 9)
    model.inference.__class__ = Twice
    plain = psm()
    plain.head = torch.nn.Linear(16, VOCABULARY).double()
    for one in (model, plain):
        _, stream = one.prefill(one.start(1), tokens)
        expected, _ = one.step(stream, tokens[:, 0])
        assert torch.equal(stepper(one, stream).step(tokens[:, 0]), expected)
        assert len(list(one.generate(tokens, tokens=3))) == 3


class Adapted(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x) + x.mean(-1, keepdim=True)


class Negative(Transformer):
    def forward(self, *given, **named):
        return -super().forward(*given, **named)

    def extend(self, *given, **named):
        read, cache = super().extend(*given, **named)
        return -read, cache


def derive(part, kind):
    part.__class__ = kind


CHANGES = {
    "a map": lambda stack: derive(stack.blocks[0].mlp[0], Adapted),
    "an activation": lambda stack: stack.blocks[0].mlp.__setitem__(1, torch.nn.ReLU()),
    "an exact activation": lambda stack: setattr(stack.blocks[0].mlp[1], "approximate", "none"),
    "one more": lambda stack: stack.blocks[0].mlp.append(torch.nn.Tanh()),
    "a hook": lambda stack: stack.blocks[0].mlp.register_forward_hook(lambda part, given, found: 2 * found),
    "a hook before": lambda stack: stack.norm.register_forward_pre_hook(lambda part, given: -given[0]),
    "a method": lambda stack: setattr(stack.blocks[0].mlp, "forward", lambda x: x),
    "the stack": lambda stack: derive(stack, Negative),
}
"""What somebody may change in a stack of ours."""


@pytest.mark.parametrize("make", [psm, lambda: decoder(window=5)], ids=["psm", "decoder"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_in_a_model_is_read_by_steps_too(make, change):
    model, tokens = make(), draw(1, 9)
    before = model(tokens)
    change((model if hasattr(model, "stack") else model.inference).stack)
    assert not close(model(tokens), before, 1e-6)
    reader = stepper(model, model.prefill(model.start(1), tokens[:, :6])[1])
    found = torch.stack([reader.step(token) for token in tokens[:, 6:].T], 1)
    assert close(found, model(tokens)[:, 6:], 1e-12)


@pytest.mark.parametrize("make", [psm, lambda: decoder(window=5), affine], ids=["psm", "decoder", "affine"])
def test_a_derived_model_reads_in_its_own_way(make):
    model, tokens = make(), draw(1, 3)

    class Louder(type(model)):
        def prefill(self, *given, **named):
            logits, stream = super().prefill(*given, **named)
            return 2 * logits, stream

    model.__class__ = Louder
    _, stream = model.prefill(model.start(1), tokens)
    assert torch.equal(stepper(model, stream).step(tokens[:, 0]), model.step(stream, tokens[:, 0])[0])


@pytest.mark.parametrize("make", [psm, lambda: decoder(window=5), affine], ids=["psm", "decoder", "affine"])
def test_steps_go_on_in_another_mode_than_they_began(make):
    model, tokens = make(), draw(1, 24)
    with torch.inference_mode():
        reader = stepper(model, model.prefill(model.start(1), tokens[:, :3])[1])
        for token in tokens[:, 3:10].T:
            reader.step(token)
    found = torch.stack([reader.step(token) for token in tokens[:, 10:].T], 1)
    assert close(found, model(tokens)[:, 10:], 1e-12)


def test_the_stream_that_was_given_stays_as_it_is():
    model, tokens = psm(), draw(1, 20)
    _, stream = model.prefill(model.start(1), tokens[:, :9])
    before = stream.tensors()
    reader = stepper(model, stream)
    for token in tokens.T:
        reader.step(token)
    assert all(torch.equal(x, before[name]) for name, x in stream.tensors().items())


def test_a_copied_stream_can_be_read_on_while_the_stepper_goes_on():
    model, tokens = psm(), draw(1, 30)
    reader = stepper(model, model.start(1))
    for token in tokens[:, :7].T:
        reader.step(token)
    fork = reader.stream()
    for token in tokens[:, 7:20].T:
        reader.step(token)
    found, _ = model.prefill(fork, tokens[:, 7:20], logits="all")
    assert close(found, model(tokens[:, :20])[:, 7:], 1e-12)
    reader.load(fork)
    assert close(reader.step(tokens[:, 7]), found[:, 0], 1e-12)
    same(reader, model.step(fork, tokens[:, 7])[1])


def test_memory_stays_where_it_is_and_grows_by_two_states_a_level():
    model = psm()
    reader = stepper(model, model.start(1))
    places, sizes = [], []
    for token in draw(1, 64).T:
        reader.step(token)
        places.append({x.data_ptr() for x in reader.tensors()})
        sizes.append(reader.nbytes)
    assert all(before <= after for before, after in itertools.pairwise(places))
    state = 4 * 16 * 8
    assert sorted(set(sizes)) == [sizes[0] + 2 * state * level for level in range(6)]
    assert len(set(sizes[31:62])) == 1


def test_room_that_a_longer_stream_has_reached_does_not_count_for_a_shorter_one():
    model, tokens = psm(), draw(1, 64)
    reader = stepper(model, model.prefill(model.start(1), tokens)[1])
    for stream in (model.prefill(model.start(1), tokens[:, :5])[1], model.start(1)):
        reader.load(stream)
        assert reader.nbytes == stepper(model, stream).nbytes


def test_merges_are_those_of_the_counter(monkeypatch):
    model, tokens = psm(), draw(1, 64)
    merges = []
    combine = model.aggregator.combine
    monkeypatch.setattr(model.aggregator, "combine", lambda *x: merges.append(1) or combine(*x))
    counts = []
    reader, stream = stepper(model, model.start(1)), model.start(1)
    for token in tokens.T:
        reader.step(token)
        counts.append(len(merges))
        merges.clear()
        _, stream = model.step(stream, token)
        assert len(merges) == counts[-1]
        merges.clear()
    assert counts[3::4] == [0, 1, 1, 2, 1, 2, 1, 3, 1, 2, 1, 3, 1, 2, 1, 4]
    assert sum(counts) == sum(counts[3::4])


def test_hidden_slots_count_for_nothing():
    model, tokens = psm(positions="rotary"), draw(1, 30)
    reader, clean = (stepper(model, model.start(1)) for _ in range(2))
    for place, token in enumerate(tokens.T):
        hidden = reader.slots.bias.isinf()
        assert hidden.sum() == 4 - place % 4 + (4 if place < 4 else 0)
        for kept in reader.slots.kept:
            kept[..., hidden, :] = 1e30
        assert close(reader.step(token), clean.step(token), 1e-12)


def test_what_one_chunk_left_behind_is_gone_in_the_next():
    model, tokens = psm(), draw(1, 12)
    reader = stepper(model, model.start(1))
    for token in tokens[:, :4].T:
        reader.step(token)
    for _, values in reader.slots.kept:
        assert not values[:, :, reader.slots.bias.isinf()].any()


@pytest.mark.parametrize("part", ["place", "ids", "fold", "root", "start"])
def test_a_fault_shows(part):
    model = psm(positions="global")
    reader = stepper(model, model.start(1))
    stream, tokens = model.start(1), draw(1, 33)
    for token in tokens[:, :30].T:
        reader.step(token)
        _, stream = model.step(stream, token)
    spoilt = {"place": reader.slots.position, "ids": reader.ids, "start": reader.start}
    spoilt |= {"fold": reader.folds[0], "root": reader.roots[0]}
    same(reader, stream)
    spoilt[part].copy_(spoilt[part] - 1 if part in ("place", "start") else spoilt[part].roll(1, -1))
    fork, token = reader.stream(), tokens[:, 30]
    logits = [x.step(token) for x in (reader, stepper(model, stream))]
    reader.load(fork)
    with pytest.raises(AssertionError):
        agree(reader, stream, logits)


def agree(reader, stream, logits):
    same(reader, stream)
    assert close(*logits, 1e-12)


def test_without_a_mask_all_places_are_read():
    stack, head = decoder(positions="none").stack, torch.eye(16, dtype=torch.float64)
    slots, x = SlotStack(stack, 1, 3, full=True), torch.randn(1, 3, 16, dtype=torch.float64)
    _, cache = stack.extend((0, ()), x[:, :2])
    slots.load(cache)
    assert close(slots.step(x[:, 2], head), stack(x)[:, 2], 1e-12)


def test_bad_tokens_and_streams_are_refused_and_nothing_is_read():
    model, tokens = psm(), draw(2, 9)
    reader = stepper(model, model.start(2))
    for token in tokens[:, :3].T:
        reader.step(token)
    before = reader.stream()
    for token, error, words in (
        (torch.zeros(2, dtype=torch.int32), TypeError, "Tokens must be torch.int64, got torch.int32"),
        (3, TypeError, "Tokens must be torch.int64, got int"),
        (tokens[:1, 0], ValueError, "shape (2,) on cpu, got (1,) on cpu"),
        (tokens[:, :1], ValueError, "shape (2,) on cpu, got (2, 1) on cpu"),
        (torch.tensor([0, VOCABULARY]), ValueError, "Tokens must be in 0..10"),
    ):
        with refuses(error, words):
            reader.step(token)
        same(reader, before)
    for stream, words in (
        (model.start(1), "batches of 2, got a batch of 1"),
        (psm().start(2), "of another model"),
    ):
        with refuses(ValueError, words):
            reader.load(stream)
    with refuses(ValueError, "of another model"):
        stepper(psm(), before)


def test_the_value_form_refuses_the_same():
    model, other = decoder(), decoder()
    with refuses(ValueError, "of another model"):
        stepper(model, other.start(1))
    with refuses(ValueError, "those of the value form; leave graphs out"):
        stepper(model, model.start(1), graphs=True)
    reader = stepper(model, model.prefill(model.start(2), draw(2, 3))[1])
    before = reader.stream()
    for stream, words in ((model.start(1), "batches of 2"), (other.start(2), "of another model")):
        with refuses(ValueError, words):
            reader.load(stream)
    assert reader.stream() is before


def test_learned_positions_end_with_words():
    reader = stepper(model := decoder(window=3, limit=5), model.start(1))
    for token in draw(1, 5).T:
        reader.step(token)
    with refuses(ValueError, "Learned positions end at 5, got a slot at 5"):
        reader.step(draw(1, 1)[0])
    assert reader.stream().count == 5


def test_graphs_need_a_gpu():
    with refuses(ValueError, "Only a CUDA device can capture graphs, got cpu"):
        Programs(torch.device("cpu"), graphs=True)


@pytest.mark.parametrize("name", ["prefill", "step"])
def test_a_method_that_somebody_has_put_in_is_called(name):
    model = psm()
    original = getattr(model, name)

    def banned(*given, **named):
        logits, stream = original(*given, **named)
        return logits.index_fill(-1, torch.tensor([3]), -torch.inf), stream

    setattr(model, name, banned)
    reader = stepper(model, model.start(1))
    assert reader.step(torch.tensor([1]))[0, 3] == -torch.inf


@pytest.mark.parametrize("make", [psm, lambda **fields: decoder(window=4, **fields)])
def test_activations_are_dropped_in_training_as_the_model_drops_them(make):
    model, token = make(dropout=0.5), torch.tensor([1])
    assert not isinstance(stepper(model, model.start(1)), ValueStepper)
    model.train()
    found = []
    for read in (model.stepper(model.start(1)).step, lambda token: model.step(model.start(1), token)[0]):
        torch.manual_seed(0)
        found.append(read(token))
    assert torch.equal(*found)


def test_under_autocast_steps_are_those_of_the_value_form():
    model = psm().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert isinstance(stepper(model, model.start(1)), ValueStepper)


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it imports its compiler
@pytest.mark.parametrize("make", [psm, lambda: decoder(window=5, positions="rotary"), affine])
def test_compiled_steps_are_the_same(make, device):
    torch.compiler.reset()
    agrees(make(), device, batch=2, start=3, length=13, compile=True)


@pytest.mark.gpu
def test_a_graph_gives_logits_that_the_next_step_leaves_alone():
    model = psm().cuda()
    reader = stepper(model, model.start(1))
    tokens = draw(1, 9).cuda()
    found = torch.stack([reader.step(token) for token in tokens.T], 1)
    assert close(found, model(tokens), 1e-12)


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.parametrize("batch", [1, 3])
def test_kernels_say_what_torch_says(batch):
    pytest.importorskip("triton", reason=TRITON)
    for positions in ("rotary", "slot"):
        model = psm(positions=positions).float()
        reader = agrees(model, "cuda", batch=batch, tolerance=1e-4)
        assert reader.slots.work.attend is not TORCH.attend
        agrees(model, "cuda", batch=batch, tolerance=1e-4, compile=True)
    agrees(decoder(window=5).float(), "cuda", batch=batch, tolerance=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("rows", [1, 2, 21, 32])
@pytest.mark.parametrize(("columns", "inner"), [(96, 32), (32, 32), (301, 32), (32, 128), (70, 24)])
def test_maps_with_all_that_is_around_say_what_torch_says(rows, columns, inner):
    pytest.importorskip("triton", reason=TRITON)
    from scannable.models._stepper_maps import Maps, overlaps

    norm = torch.nn.LayerNorm(inner, device="cuda")
    for weight in norm.parameters():
        torch.nn.init.normal_(weight)
    x, add = torch.randn(rows, inner, device="cuda"), torch.randn(rows, columns, device="cuda")
    weight, bias = torch.randn(columns, inner, device="cuda"), torch.randn(columns, device="cuda")
    for given in ({}, {"norm": norm, "gelu": True}, {"add": add}):
        expected = TORCH.linear(x, weight, bias, **given)
        for early in {False, overlaps(x.device)}:
            assert close(Maps(early=early)(x, weight, bias, **given), expected, 1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("parts", [1, 3, 4])
def test_attention_in_parts_reads_what_torch_reads(parts, ordered):
    pytest.importorskip("triton", reason=TRITON)
    from scannable.models._stepper_attention import Attend

    kept, qkv = torch.randn(2, 3, 4, 300, 16, device="cuda"), torch.randn(3, 192, device="cuda")
    place, bias = torch.tensor([170], device="cuda"), torch.zeros(300, device="cuda")
    bias[7:40] = -torch.inf
    if ordered:
        bias[171:] = -torch.inf
    rotation, other = angles(place, 16, torch.float32), kept.clone()
    found = Attend(parts=parts)(qkv, kept, rotation, place, bias, ordered=ordered)
    assert close(found, TORCH.attend(qkv, other, rotation, place, bias, ordered=ordered), 1e-5)
    assert close(kept, other, 1e-6)
