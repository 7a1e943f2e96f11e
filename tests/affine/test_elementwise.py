"""The elementwise recurrence: every implementation is the definition, however a sequence comes in."""

import pytest
import torch

from affine.cases import (
    FAST,
    IMPLEMENTATIONS,
    LENGTHS,
    assert_close,
    distance,
    draw_elementwise,
    everything,
    in_pieces,
    offsets_of,
    one_by_one,
    run,
)
from scannable.affine import _elementwise

every_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
SIZES = [(), (3,), (4, 2)]


@pytest.fixture(params=["loop", "spans"])
def form(request, monkeypatch):
    """Take the fast form's loop over single steps, or force spans of time side by side."""
    monkeypatch.setitem(_elementwise.ENTRIES, "cpu", 0 if request.param == "loop" else 1 << 40)
    return request.param


def by_hand(given):
    """Write each state as a sum over all that was written, each times the gates since."""
    gate, write, states = given["decay"].exp(), given["write"], []
    for t in range(write.shape[1]):
        state = given["state"] * gate[:, : t + 1].prod(1)
        for s in range(t + 1):
            state = state + write[:, s] * gate[:, s + 1 : t + 1].prod(1)
        states.append(state)
    return torch.stack(states, 1), states[-1]


def test_the_definition_is_the_formula_written_out():
    given = draw_elementwise(2, 6, 3)
    assert_close(everything(given, implementation="recurrent"), everything(given, by_hand), 1e-13)


@pytest.mark.parametrize("length", LENGTHS)
def test_implementations_agree_with_the_definition_in_float64(form, length):
    for batch, sizes, gates in ((2, (3,), "moderate"), (1, (4, 2), "edges"), (2, (), "edges")):
        given = draw_elementwise(batch, length, *sizes, gates=gates)
        expected = everything(given, implementation="recurrent")
        for implementation in FAST:
            assert_close(everything(given, implementation=implementation), expected)


@pytest.mark.parametrize("length", [3, 100, 257])
def test_implementations_agree_with_the_definition_in_float32(length, device):
    for gates in ("moderate", "edges"):
        given = draw_elementwise(2, length, 4, 2, gates=gates, dtype=torch.float32)
        given = {name: x.to(device) for name, x in given.items()}
        expected = everything(given, implementation="recurrent")
        for implementation in FAST:
            assert_close(everything(given, implementation=implementation), expected, 1e-5)


@every_implementation
def test_strided_inputs_are_as_good_as_contiguous_ones(form, implementation):
    given = draw_elementwise(2, 20, 4, 3)
    given["decay"] = given["decay"][:, :1, :, :1].expand_as(given["write"])
    expected = everything({name: x.contiguous() for name, x in given.items()}, implementation="recurrent")
    given["write"] = given["write"].transpose(1, 3).contiguous().transpose(1, 3)
    assert_close(everything(given, implementation=implementation), expected)


@every_implementation
@pytest.mark.parametrize("sizes", SIZES)
def test_a_state_left_out_is_zero(implementation, sizes):
    given = draw_elementwise(2, 5, *sizes)
    given["state"] = torch.zeros_like(given["state"])
    expected = run(given, implementation=implementation)
    del given["state"]
    got = run(given, implementation=implementation)
    assert all(torch.equal(x, y) for x, y in zip(got, expected, strict=True))


@every_implementation
def test_gradients_are_those_of_finite_differences(form, implementation):
    given = {name: x.requires_grad_() for name, x in draw_elementwise(1, 5, 2).items()}
    call = lambda *x: run(dict(zip(given, x, strict=True)), implementation=implementation)  # noqa: E731
    torch.autograd.gradcheck(call, tuple(given.values()), eps=1e-6, atol=1e-7)
    torch.autograd.gradgradcheck(call, tuple(given.values()), eps=1e-6, atol=1e-6)


@every_implementation
def test_gradients_beside_a_decay_of_minus_infinity(form, implementation):
    given = draw_elementwise(1, 5, 2)
    forgets = torch.zeros_like(given["decay"], dtype=torch.bool)
    forgets[0, 0, 0] = forgets[0, 3, 1] = forgets[0, 4, 1] = True
    given = {name: x.requires_grad_() for name, x in given.items()}

    def call(*inputs):
        inputs = dict(zip(given, inputs, strict=True))
        inputs["decay"] = inputs["decay"].masked_fill(forgets, -torch.inf)
        return run(inputs, implementation=implementation)

    torch.autograd.gradcheck(call, tuple(given.values()), eps=1e-6, atol=1e-7)
    infinite = {name: x.detach() for name, x in given.items()}
    infinite["decay"] = infinite["decay"].masked_fill(forgets, -torch.inf)
    gradient = everything(infinite, implementation=implementation)["gradient of decay"]
    assert (gradient[forgets] == 0).all()
    assert (gradient[~forgets] != 0).all()


@every_implementation
def test_every_split_and_single_tokens_give_the_whole(form, implementation):
    length = 17
    given = draw_elementwise(2, length, 3, gates="edges")
    expected = everything(given, implementation=implementation)
    plans = [[split, length - split] for split in range(length + 1)] + [[1] * length, [5, 0, 9, 3]]
    for sizes in plans if implementation == "chunkwise" else plans[8:]:
        assert_close(everything(given, in_pieces(sizes), implementation=implementation), expected)


@every_implementation
@pytest.mark.parametrize(
    "lengths", [[0, 3, 1, 0, 0, 40, 1, 8, 0], [], [0], [0, 0], [1], [1, 1, 1], [5, 4, 3, 2, 1]], ids=str
)
def test_packed_sequences_are_each_alone(form, implementation, lengths):
    given = draw_elementwise(1, sum(lengths), 3, gates="edges", first=len(lengths))
    found = everything(given, offsets=offsets_of(lengths), implementation=implementation)
    assert found["last state"].shape == given["state"].shape
    if lengths:
        assert_close(found, everything(given, one_by_one(lengths), implementation="recurrent"))


@every_implementation
def test_nan_does_not_reach_a_packed_neighbour(implementation):
    lengths, others = [4, 3, 0, 5], torch.tensor([0, 1, 2, 3, 7, 8, 9, 10, 11])
    given = draw_elementwise(1, 12, 3, first=4)
    sound = everything(given, offsets=offsets_of(lengths), implementation=implementation)
    for name, x in given.items():
        x[(slice(None), slice(4, 7)) if name != "state" else 1] = torch.nan
    found = everything(given, offsets=offsets_of(lengths), implementation=implementation)
    for name, x in sound.items():
        axis, places = (0, torch.tensor([0, 2, 3])) if "state" in name else (1, others)
        assert distance(*(y.index_select(axis, places) for y in (found[name], x))) <= 1e-13, name


@every_implementation
@pytest.mark.parametrize("filling", [7.0, torch.nan, torch.inf])
def test_the_state_stands_still_where_the_mask_is_false(form, implementation, filling):
    given = draw_elementwise(3, 20, 3)
    mask = torch.ones(3, 20, dtype=torch.bool)
    mask[0, :4] = mask[0, 9:12] = mask[1, 15:] = mask[2] = False
    for name in ("write", "decay"):
        given[name][~mask] = filling

    def without(given):
        states, last = [], []
        for row in range(3):
            state, row_states = given["state"][row], []
            for t in range(20):
                if mask[row, t]:
                    state = given["decay"][row, t].exp() * state + given["write"][row, t]
                row_states.append(state)
            states.append(torch.stack(row_states))
            last.append(state)
        return torch.stack(states), torch.stack(last)

    assert_close(everything(given, mask=mask, implementation=implementation), everything(given, without))


@every_implementation
@pytest.mark.parametrize("length", [0, 1, 5])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_states_are_wide(implementation, length, dtype):
    given = draw_elementwise(1, length, 3, dtype=dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    del given["state"]
    assert [x.dtype for x in run(given, implementation=implementation)] == [wide, wide]
    expected = run({name: x.to(wide) for name, x in given.items()}, implementation=implementation)
    assert torch.equal(run(given, implementation=implementation)[0], expected[0])
    given["decay"] = given["decay"].double()
    assert run(given, implementation=implementation)[1].dtype == torch.float64


@every_implementation
def test_autocast_changes_nothing(implementation):
    given = draw_elementwise(1, 30, 3, dtype=torch.float32)

    def under_autocast(given):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return run(given, implementation=implementation)

    expected, found = everything(given, implementation=implementation), everything(given, under_autocast)
    assert all(torch.equal(found[name], x) for name, x in expected.items())


@pytest.mark.parametrize("decay", [-1e30, -torch.inf, -80.0, -1e4 / 64, -1e-8, 0.0])
def test_extreme_decays_stay_finite_and_agree(form, decay):
    given = draw_elementwise(1, 100, 3, dtype=torch.float32)
    given["decay"][:, 1:] = decay
    expected = everything(given, implementation="recurrent")
    for implementation in FAST:
        assert_close(everything(given, implementation=implementation), expected, 1e-5)


def test_two_runs_give_the_same_bits(device):
    given = draw_elementwise(1, 300, 3, dtype=torch.float32, first=2)
    given = {name: x.to(device) for name, x in given.items()}
    torch.use_deterministic_algorithms(True)
    try:
        for implementation in FAST:
            options = {"implementation": implementation, "offsets": [0, 280, 300]}
            first, second = (everything(given, **options) for _ in range(2))
            assert all(torch.equal(second[name], x) for name, x in first.items())
    finally:
        torch.use_deterministic_algorithms(False)


def test_inputs_and_states_are_left_as_they_were(form):
    given = draw_elementwise(2, 40, 3)
    copies = {name: x.clone() for name, x in given.items()}
    _, state = run(given)
    kept = state.clone()
    run(given | {"state": state})
    assert torch.equal(state, kept)
    assert all(torch.equal(given[name], x) for name, x in copies.items())


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it imports its compiler
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the same
def test_the_fast_form_compiles():
    given = draw_elementwise(2, 20, 3)
    expected = everything(given)
    assert_close(everything(given, torch.compile(run, backend="aot_eager")), expected, 1e-12)


@pytest.mark.gpu
@pytest.mark.slow
def test_more_elements_than_32_bits_can_count():
    half, sizes = 1 << 20, (64, 32)
    generator = torch.Generator("cuda").manual_seed(0)
    with torch.no_grad():
        write, decay = (torch.empty(1, 2 * half, *sizes, device="cuda") for _ in range(2))
        assert write.numel() == 1 << 32
        given = {
            "write": write.normal_(generator=generator),
            "decay": decay.uniform_(-0.1, 0, generator=generator),
        }
        states, state = run(given, implementation="chunkwise")
        last, whole = states[:, -1000:].clone(), state.clone()
        del states, state
        state = torch.zeros_like(whole)
        for piece in (slice(half), slice(half, None)):
            tokens = {name: x[:, piece] for name, x in given.items()}
            states, state = run(tokens | {"state": state}, implementation="chunkwise")
        assert distance(last, states[:, -1000:]) <= 1e-5
        assert distance(whole, state) <= 1e-5
