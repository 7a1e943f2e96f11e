"""The matrix recurrence: every implementation is the definition, however a sequence comes in."""

import pytest
import torch

from affine.cases import (
    CHUNK,
    FAST,
    IMPLEMENTATIONS,
    KINDS,
    LENGTHS,
    RICHEST,
    Kind,
    assert_close,
    distance,
    draw,
    everything,
    in_pieces,
    offsets_of,
    one_by_one,
    run,
)
from scannable.affine import _chunkwise
from scannable.affine._layout import Layout

every_kind = pytest.mark.parametrize("kind", KINDS, ids=str)
every_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)


def by_hand(given, read="after"):
    """Write the formula of the docstring out with matrices, token by token."""
    q, k, v, state = (given[name] for name in ("q", "k", "v", "state"))
    outputs = []
    for t in range(q.shape[1]):
        before = state
        if "decay" in given:
            factor = given["decay"][:, t].exp()
            state = (
                torch.diag_embed(factor.unsqueeze(-1).expand_as(k[:, t]) if factor.dim() == 2 else factor)
                @ state
            )
        write = torch.ones_like(k[:, t, :, :1])
        if "erase" in given:
            write = given["erase"][:, t, :, None]
            reflected = torch.einsum("bhi,bhj->bhij", k[:, t], k[:, t])
            state = (torch.eye(k.shape[-1], dtype=k.dtype) - write[..., None] * reflected) @ state
        state = state + write[..., None] * torch.einsum("bhi,bhj->bhij", k[:, t], v[:, t])
        read_of = before if read == "before" else state
        outputs.append(torch.einsum("bhkv,bhk->bhv", read_of, q[:, t]))
    return torch.stack(outputs, 1), state


@every_kind
@pytest.mark.parametrize("gates", ["moderate", "edges"])
def test_the_definition_is_the_formula_written_out(kind, gates):
    given = draw(kind, 2, 7, gates=gates)
    expected = everything(given, lambda x: by_hand(x, kind.read))
    assert_close(everything(given, implementation="recurrent", read=kind.read), expected, 1e-13)


@every_kind
@pytest.mark.parametrize("length", LENGTHS)
def test_implementations_agree_with_the_definition_in_float64(kind, length):
    for batch, gates in ((2, "moderate"), (1, "edges")):
        given = draw(kind, batch, length, gates=gates)
        expected = everything(given, implementation="recurrent", read=kind.read)
        for implementation in FAST:
            assert_close(everything(given, implementation=implementation, read=kind.read), expected)


@every_kind
@pytest.mark.parametrize("length", [3, 100])
def test_implementations_agree_with_the_definition_in_float32(kind, length, device):
    for gates in ("moderate", "edges"):
        given = {
            name: x.to(device) for name, x in draw(kind, 2, length, gates=gates, dtype=torch.float32).items()
        }
        expected = everything(given, implementation="recurrent", read=kind.read)
        for implementation in FAST:
            assert_close(everything(given, implementation=implementation, read=kind.read), expected, 1e-5)


def test_implementations_agree_over_several_chunks_in_float32():
    for kind in KINDS[1::2]:
        given = draw(kind, 1, 257, dtype=torch.float32)
        expected = everything(given, implementation="recurrent", read=kind.read)
        assert_close(everything(given, read=kind.read), expected, 1e-5)


@pytest.mark.parametrize(("heads", "key", "value"), [(1, 1, 1), (1, 4, 4), (3, 2, 7), (2, 6, 1)])
def test_any_number_of_heads_and_any_widths(heads, key, value):
    for kind in KINDS[1::2]:
        given = draw(kind, 2, 70, heads, key, value, gates="edges")
        expected = everything(given, implementation="recurrent", read=kind.read)
        for implementation in FAST:
            assert_close(everything(given, implementation=implementation, read=kind.read), expected)


@every_implementation
@every_kind
def test_heads_that_share_keys_are_as_if_each_had_its_own(implementation, kind):
    def expanded(given, **options):
        shared = {name: given[name].repeat_interleave(3, 2) for name in ("q", "k")}
        return run(given | shared, **options)

    for length in (1, 70):
        given = draw(kind, 2, length, 6, groups=2, gates="edges")
        expected = everything(given, expanded, implementation="recurrent", read=kind.read)
        assert_close(everything(given, implementation=implementation, read=kind.read), expected)
    lengths = [3, 0, CHUNK + 5]
    given = draw(kind, 1, sum(lengths), 2, groups=1, first=3)
    options = {"implementation": implementation, "read": kind.read}
    found = everything(given, offsets=offsets_of(lengths), **options)
    assert_close(found, everything(given, one_by_one(lengths), **options))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.erase], ids=str)
@pytest.mark.parametrize(("size", "key", "value"), [(32, 20, 30), (64, 40, 30), (128, 80, 60)])
def test_chunks_are_longer_where_states_are_larger(monkeypatch, kind, size, key, value):
    sizes = []

    def layout(*arguments):
        sizes.append(arguments[-1])
        return Layout(*arguments)

    monkeypatch.setitem(_chunkwise.LONGEST, "cpu", 128)
    monkeypatch.setattr("scannable.affine._summed.Layout", layout)
    given = draw(kind, 1, 300, 2, key, value, gates="edges")
    found = everything(given, read=kind.read)
    assert sizes == [size]
    assert_close(found, everything(given, implementation="recurrent", read=kind.read))


@every_implementation
@pytest.mark.parametrize("length", [1, 5, CHUNK + 3])
def test_strided_inputs_are_as_good_as_contiguous_ones(implementation, length):
    for kind in KINDS[::3]:
        given = draw(kind, 2, length)
        given["k"] = given["k"][:, :, :1].expand_as(given["k"])
        if kind.erase:
            given["erase"] = given["erase"][:, :1].expand_as(given["erase"])
        expected = everything(
            {name: x.contiguous() for name, x in given.items()}, implementation=implementation, read=kind.read
        )
        strided = {name: x.transpose(1, 2).contiguous().transpose(1, 2) for name, x in given.items()}
        strided |= {name: given[name] for name in ("k", "erase") if name in given}
        assert_close(everything(strided, implementation=implementation, read=kind.read), expected, 1e-13)


@every_implementation
@every_kind
def test_a_state_left_out_is_zero(implementation, kind):
    given = draw(kind, 2, 5)
    given["state"] = torch.zeros_like(given["state"])
    expected = run(given, implementation=implementation, read=kind.read)
    del given["state"]
    got = run(given, implementation=implementation, read=kind.read)
    assert all(torch.equal(x, y) for x, y in zip(got, expected, strict=True))


@every_implementation
@every_kind
def test_gradients_are_those_of_finite_differences(implementation, kind):
    given = {name: x.requires_grad_() for name, x in draw(kind, 1, 3, 1, 2, 2).items()}
    options = {"implementation": implementation, "read": kind.read}
    call = lambda *x: run(dict(zip(given, x, strict=True)), **options)  # noqa: E731
    torch.autograd.gradcheck(call, tuple(given.values()), eps=1e-6, atol=1e-7)
    if implementation == "chunkwise" and kind.read == "before":
        torch.autograd.gradgradcheck(call, tuple(given.values()), eps=1e-6, atol=1e-6)


@every_implementation
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.decay != "none"], ids=str)
def test_gradients_beside_a_decay_of_minus_infinity(implementation, kind):
    given = draw(kind, 1, 3, 1, 2, 2)
    forgets = torch.zeros_like(given["decay"], dtype=torch.bool)
    forgets.view(3, -1)[1, 0] = forgets.view(3, -1)[2, -1] = True
    given = {name: x.requires_grad_() for name, x in given.items()}

    def call(*inputs):
        inputs = dict(zip(given, inputs, strict=True))
        inputs["decay"] = inputs["decay"].masked_fill(forgets, -torch.inf)
        return run(inputs, implementation=implementation, read=kind.read)

    torch.autograd.gradcheck(call, tuple(given.values()), eps=1e-6, atol=1e-7)
    infinite = {name: x.detach() for name, x in given.items()}
    infinite["decay"] = infinite["decay"].masked_fill(forgets, -torch.inf)
    found = everything(infinite, implementation=implementation, read=kind.read)
    assert (found["gradient of decay"][forgets] == 0).all()
    assert (found["gradient of decay"][~forgets] != 0).any()


@every_implementation
@pytest.mark.parametrize("kind", [Kind("scalar", erase=True, read="after"), RICHEST], ids=str)
def test_second_derivatives_agree(implementation, kind):
    given = {name: x.requires_grad_() for name, x in draw(kind, 1, 5, 1, 2, 2).items()}

    def second(implementation):
        o, state = run(given, implementation=implementation, read=kind.read)
        first = torch.autograd.grad(
            o.sin().sum() + state.cos().sum(), list(given.values()), create_graph=True
        )
        return torch.autograd.grad(sum(x.square().sum() for x in first), list(given.values()))

    for x, y in zip(second(implementation), second("recurrent"), strict=True):
        assert distance(x, y) <= 1e-11


@every_implementation
def test_every_split_into_two_calls_gives_the_whole(implementation):
    length = CHUNK + 6
    splits = [0, 1, 2, 33, CHUNK - 1, CHUNK, CHUNK + 1, length - 1, length]
    for kind in (KINDS[1], Kind("scalar", erase=False, read="after"), RICHEST):
        given = draw(kind, 1, length, 1, 3, 2, gates="edges")
        expected = everything(given, implementation=implementation, read=kind.read)
        for split in splits if implementation == "chunkwise" else splits[2:5]:
            call = in_pieces([split, length - split])
            assert_close(everything(given, call, implementation=implementation, read=kind.read), expected)


@every_implementation
@every_kind
def test_pieces_of_all_sizes_and_single_tokens_give_the_whole(implementation, kind):
    given = draw(kind, 2, 12, gates="edges")
    expected = everything(given, implementation=implementation, read=kind.read)
    for sizes in ([1] * 12, [3, 0, 1, 8], [5, 7, 0]):
        found = everything(given, in_pieces(sizes), implementation=implementation, read=kind.read)
        assert_close(found, expected)


def test_implementations_can_take_turns():
    given = draw(RICHEST, 2, 80)
    expected = everything(given, implementation="recurrent", read="before")

    def call(given):
        state, outputs = given["state"], []
        tokens = {name: x.split([9, 30, 41], 1) for name, x in given.items() if name != "state"}
        for i, implementation in enumerate(IMPLEMENTATIONS):
            piece = {name: x[i] for name, x in tokens.items()}
            o, state = run(piece | {"state": state}, read="before", implementation=implementation)
            outputs.append(o)
        return torch.cat(outputs, 1), state

    assert_close(everything(given, call), expected)


PACKED = [0, 3, 1, 0, 0, 2 * CHUNK + 5, 1, CHUNK, 0]


@every_implementation
@every_kind
def test_packed_sequences_are_each_alone(implementation, kind):
    lengths = PACKED if implementation == "chunkwise" else [0, 3, 1, 0, 9, 1, 0]
    given = draw(kind, 1, sum(lengths), first=len(lengths), gates="edges")
    expected = everything(given, one_by_one(lengths), implementation="recurrent", read=kind.read)
    options = {"offsets": offsets_of(lengths), "implementation": implementation, "read": kind.read}
    assert_close(everything(given, **options), expected)


@every_implementation
@pytest.mark.parametrize(
    "lengths", [[], [0], [0, 0], [1], [1, 1, 1], [2, 0], [CHUNK], [5, 4, 3, 2, 1]], ids=str
)
def test_packs_of_few_tokens(implementation, lengths):
    given = draw(RICHEST, 1, sum(lengths), 2, 3, 2, first=len(lengths))
    options = {"offsets": torch.tensor(offsets_of(lengths)), "implementation": implementation}
    found = everything(given, **options)
    assert found["last state"].shape == given["state"].shape
    if lengths:
        assert_close(found, everything(given, one_by_one(lengths), implementation="recurrent"))


@every_implementation
@every_kind
def test_nan_does_not_reach_a_packed_neighbour(implementation, kind):
    lengths = [4, 3, 0, 5]
    given = draw(kind, 1, 12, first=4)
    sound = everything(given, offsets=offsets_of(lengths), implementation=implementation, read=kind.read)
    for name, x in given.items():
        x[(slice(None), slice(4, 7)) if name != "state" else 1] = torch.nan
    found = everything(given, offsets=offsets_of(lengths), implementation=implementation, read=kind.read)
    for name, x in sound.items():
        axis = 0 if "state" in name else 1
        others = [0, 2, 3] if axis == 0 else [0, 1, 2, 3, 7, 8, 9, 10, 11]
        kept = found[name].index_select(axis, torch.tensor(others))
        assert distance(kept, x.index_select(axis, torch.tensor(others))) <= 1e-13, name


def without(mask):
    """Return a call that leaves masked tokens out, row by row, and puts zeros in their places."""

    def call(given, **options):
        rows = []
        for row, kept in enumerate(mask):
            tokens = {name: x[row : row + 1] for name, x in given.items()}
            tokens |= {name: x[:, kept] for name, x in tokens.items() if name != "state"}
            o, state = run(tokens, **options)
            spread = o.new_zeros(1, len(kept), *o.shape[2:]).masked_scatter(kept[:, None, None], o)
            rows.append((spread, state))
        return tuple(torch.cat(x) for x in zip(*rows, strict=True))

    return call


MASKS = {
    "left": lambda mask: mask[:, :3].fill_(False),
    "right": lambda mask: mask[:, 6:].fill_(False),
    "middle": lambda mask: mask[:, 2:5].fill_(False),
    "ragged": lambda mask: (mask[0, :4].fill_(False), mask[1, 7:].fill_(False)),
    "all": lambda mask: mask.fill_(False),
    "none": lambda mask: mask,
}


@every_implementation
@pytest.mark.parametrize("where", MASKS)
@pytest.mark.parametrize("filling", [7.0, torch.nan, torch.inf])
def test_masked_tokens_might_as_well_not_be_there(implementation, where, filling):
    for kind in KINDS[1::2]:
        given = draw(kind, 2, 9)
        mask = torch.ones(2, 9, dtype=torch.bool)
        MASKS[where](mask)
        for name, x in given.items():
            if name != "state":
                x[~mask] = filling

        expected = everything(given, without(mask), implementation="recurrent", read=kind.read)
        found = everything(given, implementation=implementation, read=kind.read, mask=mask)
        assert_close(found, expected)
        assert (found["outputs"][~mask] == 0).all()


@every_implementation
def test_masks_and_packed_sequences_go_together(implementation):
    lengths = [4, 0, 5]
    given = draw(RICHEST, 1, 9, first=3)
    mask = torch.ones(1, 9, dtype=torch.bool)
    mask[0, 2:6] = False
    expected = everything(given, mask=mask, offsets=offsets_of(lengths), implementation="recurrent")
    found = everything(given, mask=mask, offsets=offsets_of(lengths), implementation=implementation)
    assert_close(found, expected)
    kept = {name: x if name == "state" else x[:, mask[0]] for name, x in given.items()}
    o, state = run(kept, offsets=[0, 2, 2, 5], implementation="recurrent")
    assert distance(found["outputs"][:, mask[0]], o) <= 1e-12
    assert distance(found["last state"], state) <= 1e-12


@every_implementation
@pytest.mark.parametrize("length", [0, 1, 5])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_states_are_wide_and_outputs_have_the_dtype_of_the_values(implementation, length, dtype):
    given = draw(RICHEST, 1, length, dtype=dtype)
    given["state"] = given["state"].to(torch.float64 if dtype == torch.float64 else torch.float32)
    o, state = run(given, implementation=implementation)
    assert o.dtype == dtype
    assert state.dtype == given["state"].dtype
    del given["state"]
    assert run(given, implementation=implementation)[1].dtype == state.dtype


@every_implementation
def test_gates_may_have_another_dtype_than_the_rest(implementation):
    given = draw(RICHEST, 1, 5, dtype=torch.bfloat16) | {"state": torch.zeros(1, 2, 5, 3)}
    wider = given | {name: given[name].float() for name in ("decay", "erase")}
    got, expected = (run(x, implementation=implementation) for x in (wider, given))
    assert all(torch.equal(x, y) for x, y in zip(got, expected, strict=True))
    given["decay"], given["state"] = given["decay"].double(), given["state"].double()
    assert [x.dtype for x in run(given, implementation=implementation)] == [torch.bfloat16, torch.float64]


@every_implementation
def test_autocast_changes_nothing(implementation):
    given = draw(RICHEST, 1, 70, dtype=torch.float32)
    expected = everything(given, implementation=implementation)

    def under_autocast(given):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return run(given, implementation=implementation)

    found = everything(given, under_autocast)
    assert all(torch.equal(found[name], x) for name, x in expected.items())


def extreme(kind, length, name):
    given = draw(kind, 1, length, dtype=torch.float32)
    decay = given["decay"]
    if name == "huge sums":
        decay.fill_(-1e4 / CHUNK)
    elif name == "huge steps":
        decay.fill_(-1e30)
    elif name == "alternating":
        decay.fill_(0)[:, ::2] = -torch.inf
    elif name == "only infinite":
        decay.fill_(-torch.inf)
    elif name == "strong":
        decay.fill_(-80)
    else:
        decay.fill_(-1e-8)
    return given


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.decay != "none"], ids=str)
@pytest.mark.parametrize(
    "name", ["huge sums", "huge steps", "alternating", "only infinite", "strong", "slight"]
)
def test_extreme_decays_stay_finite_and_agree(kind, name):
    given = extreme(kind, 2 * CHUNK + 2, name)
    expected = everything(given, implementation="recurrent", read=kind.read)
    for implementation in FAST:
        assert_close(everything(given, implementation=implementation, read=kind.read), expected, 1e-5)


@every_implementation
def test_a_decay_of_zero_is_no_decay(implementation):
    for kind in KINDS:
        if kind.decay != "none":
            given = draw(kind, 1, 70) | {"decay": torch.zeros_like(draw(kind, 1, 70)["decay"])}
            got = run(given, implementation=implementation, read=kind.read)
            del given["decay"]
            expected = run(given, implementation=implementation, read=kind.read)
            assert all(distance(x, y) <= 1e-13 for x, y in zip(got, expected, strict=True))


@every_implementation
def test_minus_infinity_forgets_everything_exactly(implementation):
    given = draw(Kind("scalar", erase=True, read="after"), 1, 9)
    given["decay"][:, 5] = -torch.inf
    expected = run(given, implementation=implementation)
    other = {name: x.clone() for name, x in given.items()}
    other["state"] *= -3
    for name in ("k", "v", "decay", "erase"):
        other[name][:, :5] *= 0.5
    o, state = run(other, implementation=implementation)
    assert torch.equal(o[:, 5:], expected[0][:, 5:])
    assert torch.equal(state, expected[1])


@pytest.mark.parametrize("kind", [KINDS[1], Kind("scalar", erase=True, read="after"), RICHEST], ids=str)
def test_two_runs_give_the_same_bits(kind, device):
    lengths = [CHUNK + 2, 0, 7]
    given = {
        name: x.to(device) for name, x in draw(kind, 1, sum(lengths), first=3, dtype=torch.float32).items()
    }
    torch.use_deterministic_algorithms(True)
    try:
        for implementation in FAST:
            options = {"implementation": implementation, "read": kind.read, "offsets": offsets_of(lengths)}
            first, second = (everything(given, **options) for _ in range(2))
            assert all(torch.equal(second[name], x) for name, x in first.items())
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it imports its compiler
@pytest.mark.parametrize(
    "kind", [*(Kind("scalar", erase, "after") for erase in (False, True)), RICHEST], ids=str
)
def test_the_chunkwise_form_compiles_in_one_graph(monkeypatch, kind):
    monkeypatch.setattr("scannable.affine._chunkwise.CHUNK", 4)
    given = draw(kind, 2, 6)
    call = torch.compile(run, fullgraph=True, backend="aot_eager")
    expected = everything(given, read=kind.read)
    assert_close(everything(given, call, read=kind.read), expected, 1e-12)


@pytest.mark.parametrize("implementation", ["recurrent", "tree"])
@pytest.mark.parametrize("kind", [KINDS[1], RICHEST], ids=str)
def test_texts_are_mapped_over_by_torch_func(kind, implementation):
    given = [draw(kind, 2, 5, seed=seed) for seed in range(3)]
    options = {"read": kind.read, "implementation": implementation}
    stacked = {name: torch.stack([one[name] for one in given]) for name in given[0]}
    found = torch.func.vmap(lambda one: run(one, **options)[0])(stacked)
    assert_close({"o": found}, {"o": torch.stack([run(one, **options)[0] for one in given])}, 1e-12)


def test_one_token_needs_no_chunks(monkeypatch):
    def refuse(*_):
        raise AssertionError("no chunks for one token")

    for name in ("Layout", "weigh"):
        monkeypatch.setattr(f"scannable.affine._chunkwise.{name}", refuse)
    for kind in KINDS:
        run(draw(kind, 2, 1), read=kind.read, implementation="chunkwise")
        run(draw(kind, 2, 0), read=kind.read, implementation="chunkwise")


def test_inputs_and_states_are_left_as_they_were():
    for implementation in IMPLEMENTATIONS:
        given = draw(RICHEST, 2, 70)
        copies = {name: x.clone() for name, x in given.items()}
        _, state = run(given, implementation=implementation, mask=torch.rand(2, 70) < 0.9)
        kept = state.clone()
        run(given | {"state": state}, implementation=implementation)
        assert torch.equal(state, kept)
        assert all(torch.equal(given[name], x) for name, x in copies.items())


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize(("key", "value"), [(64, 16), (16, 64)], ids=["keys", "values"])
def test_more_elements_than_32_bits_can_count(key, value):
    # Keys or values have more than 2**31 elements, not both: in float32, and once more in chunks, that fills a GPU.
    half, heads = (1 << 19) + 512, 32
    generator = torch.Generator("cuda").manual_seed(0)

    def normal(width):
        x = torch.empty(1, 2 * half, heads, width, device="cuda", dtype=torch.bfloat16)
        return x.normal_(generator=generator)

    with torch.no_grad():
        given = {"q": normal(key), "k": normal(key).div_(key**0.5), "v": normal(value)}
        assert max(x.numel() for x in given.values()) > 1 << 31
        given["decay"] = torch.empty(1, 2 * half, heads, device="cuda").uniform_(-0.1, 0, generator=generator)
        o, whole = run(given, implementation="chunkwise")
        last = o[:, -1000:].clone()
        del o
        state = torch.zeros_like(whole)
        for piece in (slice(half), slice(half, None)):
            tokens = {name: x[:, piece] for name, x in given.items()}
            o, state = run(tokens | {"state": state}, implementation="chunkwise")
        assert distance(last, o[:, -1000:]) <= 1e-2
        assert distance(whole, state) <= 1e-5
