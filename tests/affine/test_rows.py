"""What every row of the family must do, whatever its gates are."""

import inspect
import itertools
import pickle
import zlib

import pytest
import torch

from agreement import refused
from scannable.affine import ROWS, RowState

WIDTH = 16
SMALL = {
    "mamba2": {"state": 8},
    "s4": {"state": 4},
    "s6": {"state": 4},
    "mamba": {"state": 4},
    "rwkv6": {"rank": 4, "decay_rank": 4},
}
VARIANTS = [
    ("linear-attention", {"feature_map": "relu"}),
    ("linear-attention", {"feature_map": "identity", "normalised": False}),
    ("deltanet", {"negative_eigenvalues": True}),
    ("gated-deltanet", {"negative_eigenvalues": True}),
    ("gated-rfa", {"features": "arccos"}),
    ("mamba2", {"groups": 2, "state": 8}),
    ("deltaproduct", {"factors": 3, "gated": False}),
]
FORMS = ["recurrent", "tree", "chunkwise"]
# What decides gates beside the token: pushed far to either side, gates are as good as 0 or 1.
BIASES = {"bias", "pace", "dt_bias", "A_log", "log_step", "bound"}
GATES = {"decay", "erase", "gates", "forget", "dt_proj"}

each_row = pytest.mark.parametrize(
    "row", [(name, SMALL.get(name, {})) for name in ROWS], ids=lambda row: row[0]
)
each_kind = pytest.mark.parametrize(
    "row",
    [(name, SMALL.get(name, {})) for name in ROWS] + VARIANTS,
    ids=lambda row: "-".join([row[0], *(f"{k}={v}" for k, v in row[1].items() if row in VARIANTS)]),
)


def make(row, device="cpu", dtype=torch.float64, width=WIDTH):
    name, options = row
    torch.manual_seed(zlib.crc32(name.encode()))
    layer = ROWS[name](width, **options)
    scale_gates(layer, 3)
    return layer.to(device, dtype)


def scale_gates(layer, factor):
    """Give gates more contrast than they have before training."""
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if GATES & set(name.split(".")):
                parameter.mul_(factor)


def draw(*shape, device="cpu", seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).to(device)


def close(got, expected, tolerance=1e-10):
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.shape == other.shape
        scale = max(1.0, float(other.detach().abs().max())) if other.numel() else 1.0
        torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=tolerance * scale)


def parts(state):
    return [x for x in state[1:] if x is not None]


def same_state(got, expected, tolerance=1e-10):
    assert got.row == expected.row
    close(parts(got), parts(expected), tolerance)


def with_gradient(state):
    """Return the state as leaves; mLSTM's running maximum has no gradient."""
    leaves = {
        name: getattr(state, name).detach().requires_grad_()
        for name in ("memory", "window")
        if getattr(state, name) is not None
    }
    return state._replace(**leaves)


def gradients(layer, outputs, state, inputs):
    """Differentiate random cotangents on outputs and all of the state, by the inputs and all parameters."""
    ends = [x for x in (outputs, *parts(state)) if x.requires_grad]
    value = sum((x * draw(*x.shape, device=x.device, seed=9).to(x.dtype)).sum() for x in ends)
    inputs = [x for x in (*inputs, *layer.parameters()) if x.requires_grad]
    return torch.autograd.grad(value, inputs, allow_unused=True, materialize_grads=True)


def read_in_pieces(layer, x, pieces, state=None):
    outputs = []
    for piece in x.split(pieces, 1):
        y, state = layer(piece, state)
        outputs.append(y)
    return torch.cat(outputs, 1), state


@each_kind
@pytest.mark.parametrize("length", [1, 3, 70])
def test_forms_agree_on_outputs_states_and_gradients(row, length, device):
    layer = make(row, device)
    earlier = layer(draw(2, 5, WIDTH, device=device))[1]
    found = []
    for form in FORMS:
        x, state = draw(2, length, WIDTH, device=device, seed=2).requires_grad_(), with_gradient(earlier)
        y, after = layer(x, state, implementation=form)
        found.append([y, *parts(after), *gradients(layer, y, after, [x, *parts(state)])])
    for others in found[1:]:
        close(others, found[0])


@each_row
def test_no_token_changes_nothing(row, device):
    layer = make(row, device)
    state = layer(draw(2, 5, WIDTH, device=device))[1]
    for form, before in itertools.product(FORMS, [None, state]):
        y, after = layer(draw(2, 0, WIDTH, device=device), before, implementation=form)
        assert y.shape == (2, 0, WIDTH)
        if before is not None:
            same_state(after, state, 0)
    y, fresh = layer(draw(2, 0, WIDTH, device=device))
    x = draw(2, 4, WIDTH, device=device)
    close([layer(x, fresh)[0]], [layer(x)[0]], 0)


@each_row
def test_float32_differs_by_rounding_only(row, device):
    x = draw(2, 70, WIDTH, device=device)
    expected, after = make(row, device)(x.float().double())
    for form in FORMS:
        y, state = make(row, device, torch.float32)(x.float(), implementation=form)
        assert y.dtype == state.memory.dtype == torch.float32
        close([y, *parts(state)], [expected, *parts(after)], 1e-5)


@each_kind
def test_any_split_into_calls_gives_the_unsplit_result(row, device):
    layer = make(row, device)
    x = draw(2, 70, WIDTH, device=device)
    expected, after = layer(x)
    for pieces in ([3, 0, 1, 64, 2], [0, 65, 5, 0], [1] * 70):
        y, state = read_in_pieces(layer, x, pieces)
        close([y], [expected])
        same_state(state, after)


@each_row
def test_gradients_flow_through_the_carried_state(row, device):
    layer = make(row, device)
    found = []
    for pieces in ([20], [7, 0, 1, 12]):
        x = draw(2, 20, WIDTH, device=device).requires_grad_()
        y, state = read_in_pieces(layer, x, pieces)
        found.append(gradients(layer, y, state, [x]))
    close(found[1], found[0])
    assert (found[0][0] != 0).any(-1).all()


@each_row
def test_a_state_is_a_value(row, device):
    layer = make(row, device)
    state = layer(draw(2, 5, WIDTH, device=device))[1]
    kept = [x.clone() for x in parts(state)]
    for length in (1, 70):
        layer(draw(2, length, WIDTH, device=device), state)
    assert all(torch.equal(x, y) for x, y in zip(parts(state), kept, strict=True))


@each_kind
def test_packed_sequences_are_read_as_if_alone(row, device):
    layer = make(row, device)
    offsets = [0, 3, 3, 69, 70]
    found = []
    for packed in (True, False):
        x = draw(1, 70, WIDTH, device=device).requires_grad_()
        first = with_gradient(layer(draw(4, 5, WIDTH, device=device))[1])
        if packed:
            y, after = layer(x, first, offsets=offsets)
        else:
            rows = [
                RowState(first.row, *(s if s is None else s[i : i + 1] for s in first[1:])) for i in range(4)
            ]
            ends = [
                layer(x[:, a:b], one) for (a, b), one in zip(itertools.pairwise(offsets), rows, strict=True)
            ]
            y = torch.cat([y for y, _ in ends], 1)
            columns = zip(*(state[1:] for _, state in ends), strict=True)
            after = RowState(first.row, *(None if c[0] is None else torch.cat(c) for c in columns))
        found.append([y, *parts(after), *gradients(layer, y, after, [x, *parts(first)])])
    close(found[0], found[1])


@each_row
def test_nothing_leaks_between_packed_neighbours(row, device):
    layer = make(row, device)
    clean = draw(1, 75, WIDTH, device=device)
    spoilt = clean.clone()
    spoilt[:, 5:70] = torch.nan
    offsets = [0, 5, 70, 70, 75]
    expected, after = layer(clean, offsets=offsets)
    for form in FORMS:
        y, state = layer(spoilt, offsets=offsets, implementation=form)
        assert y[:, 5:70].isnan().any()
        close([y[:, :5], y[:, 70:]], [expected[:, :5], expected[:, 70:]])
        rest = [0, 2, 3]
        close([x[rest] for x in parts(state)], [x[rest] for x in parts(after)])


@each_row
@pytest.mark.parametrize("side", ["left", "right", "both"])
def test_padding_is_as_if_it_were_not_there(row, side, device):
    layer = make(row, device)
    left, right = {"left": (4, 0), "right": (0, 4), "both": (3, 1)}[side]
    texts = [draw(1, length, WIDTH, device=device, seed=length) for length in (66, 70 - left - right, 0)]
    x = torch.full((3, 70, WIDTH), torch.nan, dtype=torch.float64, device=device)
    mask = torch.zeros(3, 70, dtype=torch.bool, device=device)
    for i, text in enumerate(texts):
        start = left if side != "left" else 70 - text.shape[1]
        mask[i, start : start + text.shape[1]] = True
        x[i, start : start + text.shape[1]] = text[0]
    x.requires_grad_()
    y, after = layer(x, mask=mask)
    assert (y[~mask] == 0).all()
    for i, text in enumerate(texts):
        alone, state = layer(text)
        close([y[i, mask[i]]], [alone[0]])
        close([s[i : i + 1] for s in parts(after)], parts(state))
    found = gradients(layer, y, after, [x])
    assert all(g.isfinite().all() for g in found)
    assert (found[0][~mask] == 0).all()


@each_row
def test_rows_of_a_batch_do_not_meet(row, device):
    layer = make(row, device)
    x = draw(3, 66, WIDTH, device=device)
    y, after = layer(x)
    for i in range(3):
        alone, state = layer(x[i : i + 1])
        close([alone], [y[i : i + 1]])
        close(parts(state), [s[i : i + 1] for s in parts(after)])


@each_row
def test_memory_layout_does_not_matter(row, device):
    layer = make(row, device)
    strided = draw(WIDTH, 2, 70, device=device).permute(1, 2, 0)
    expanded = draw(1, 1, WIDTH, device=device).expand(2, 70, WIDTH)
    for x in (strided, expanded, strided[:, ::2]):
        y, state = layer(x)
        expected, after = layer(x.contiguous())
        close([y], [expected])
        same_state(state, after)


@each_kind
def test_zeros_are_read_without_harm(row, device):
    layer = make(row, device)
    found = []
    for form in FORMS:
        x = torch.zeros(2, 70, WIDTH, dtype=torch.float64, device=device).requires_grad_()
        y, state = layer(x, implementation=form)
        found.append([y, *parts(state), *gradients(layer, y, state, [x])])
        assert all(g.isfinite().all() for g in found[-1])
    for others in found[1:]:
        close(others, found[0])


@pytest.mark.parametrize("row", [("linear-attention", {}), ("gated-rfa", {})], ids=lambda row: row[0])
def test_weights_of_normalised_rows_add_up_to_one(row, device):
    layer = make(row, device)
    x = draw(1, 1, WIDTH, device=device).expand(1, 70, WIDTH)
    expected = layer.out(layer.qkv(x)[..., 2 * WIDTH :])
    close([layer(x)[0]], [expected], 1e-5)


@each_row
def test_bfloat16_layers_have_float32_states(row, device):
    layer = make(row, device, torch.bfloat16)
    x = draw(2, 70, WIDTH, device=device).bfloat16()
    expected = make(row, device)(x.double())[0]
    y, state = layer(x)
    assert y.dtype == torch.bfloat16
    assert {s.dtype for s in parts(state)} == {torch.float32}
    assert (y.double() - expected).norm() <= 0.1 * expected.norm()
    again, _ = layer(x[:, :1], state)
    again.sum().backward()
    assert all(p.grad is None or p.grad.dtype == torch.bfloat16 for p in layer.parameters())


@each_row
def test_autocast_leaves_states_in_float32(row, device):
    layer = make(row, device, torch.float32)
    x = draw(2, 20, WIDTH, device=device).float()
    expected = layer(x)[0]
    with torch.autocast(device.type, dtype=torch.bfloat16):
        first, state = layer(x[:, :15])
        y, state = layer(x[:, 15:], state)
    assert {s.dtype for s in parts(state)} == {torch.float32}
    assert (torch.cat([first, y], 1) - expected).norm() <= 0.1 * expected.norm()
    y.float().sum().backward()


@each_row
@pytest.mark.parametrize("side", [-40.0, 40.0])
def test_saturated_gates_stay_finite_and_agree(row, side, device):
    layer = make(row, device)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            owner, _, last = name.rpartition(".")
            if last in BIASES and "norm" not in owner:
                parameter.fill_(side)
    assert_forms_agree(layer, draw(2, 70, WIDTH, device=device))


@each_row
def test_hard_gates_stay_finite_and_agree(row, device):
    layer = make(row, device)
    scale_gates(layer, 10)
    assert_forms_agree(layer, draw(2, 70, WIDTH, device=device))


def assert_forms_agree(layer, x):
    found = []
    for form in FORMS:
        x = x.detach().requires_grad_()
        y, state = layer(x, implementation=form)
        found.append([y, *parts(state), *gradients(layer, y, state, [x])])
        assert all(g.isfinite().all() for g in found[-1])
    for others in found[1:]:
        close(others, found[0], 1e-9)


@each_kind
def test_gradients_are_those_of_finite_differences(row, device):
    name, options = row
    heads = {"heads": 2} if "heads" in inspect.signature(ROWS[name]).parameters else {}
    layer = make((name, {**options, **heads}), device, width=8)
    names = [name for name, _ in layer.named_parameters()]
    state = layer(draw(1, 3, 8, device=device))[1]
    peak = state.peak

    def read(x, memory, window, *parameters):
        given = state._replace(memory=memory, window=window, peak=peak)
        values = dict(zip(names, parameters, strict=True))
        y, after = torch.func.functional_call(layer, values, (x, given))
        memory = after.memory
        if after.peak is not None:
            # mLSTM stores its memory divided by a maximum that has no gradient; the product does not depend on it.
            memory = memory * after.peak.exp()[..., None, None]
        return (y, memory) if window is None else (y, memory, after.window)

    inputs = [draw(1, 5, 8, device=device, seed=2), state.memory, state.window, *layer.parameters()]
    inputs = [None if x is None else x.detach().clone().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(read, inputs, fast_mode=True)


@each_row
def test_a_state_that_does_not_fit_is_refused(row, device):
    layer = make(row, device)
    x = draw(2, 3, WIDTH, device=device)
    state = layer(x)[1]
    with refused(
        ValueError, f"must be one of a {row[0]!r} layer, got 'other'; pass what this layer returned"
    ):
        layer(x, state._replace(row="other"))
    with refused(ValueError, "got 'Tensor'; pass what this layer returned"):
        layer(x, state.memory)
    for field, part in zip(state._fields[1:], state[1:], strict=True):
        if part is None:
            continue
        with refused(
            TypeError, "The state must be torch.float64 .*, got torch.float32; pass what the call before"
        ):
            layer(x, state._replace(**{field: part.float()}))
        with refused(
            ValueError, r"The state must have shape \(2, .*got \(1, .*pass what the call before returned"
        ):
            layer(x, state._replace(**{field: part[:1]}))


@each_row
def test_inputs_that_do_not_fit_are_refused(row, device):
    layer = make(row, device)
    with refused(ValueError, r"x must have shape \(B >= 1, T, 16\), got \(2, 3, 8\); put batch first"):
        layer(draw(2, 3, 8, device=device))
    with refused(ValueError, r"x must have shape .*got \(0, 3, 16\)"):
        layer(draw(0, 3, WIDTH, device=device))
    mask = torch.ones(1, 3, dtype=torch.bool, device=device)
    with refused(ValueError, "Give offsets or a mask, got both"):
        layer(draw(1, 3, WIDTH, device=device), offsets=[0, 3], mask=mask)
    with refused(ValueError, "mask must be torch.bool of shape"):
        layer(draw(2, 3, WIDTH, device=device), mask=mask)


def test_options_that_make_no_sense_are_refused():
    with refused(ValueError, "feature_map must be one of .*got 'tanh'"):
        ROWS["linear-attention"](WIDTH, feature_map="tanh")
    with refused(ValueError, "needs features that are not negative, got feature_map='identity'; choose"):
        ROWS["linear-attention"](WIDTH, feature_map="identity")
    with refused(ValueError, "features must be one of .*got 'cosine'"):
        ROWS["gated-rfa"](WIDTH, features="cosine")


def test_heads_of_one_channel_are_refused_where_each_is_normed():
    with refused(ValueError, "Heads must have two channels or more, since each is normed, got 8 heads of 1"):
        ROWS["rwkv6"](8, heads=8)


@pytest.mark.parametrize(
    "name", ["linear-attention", "deltanet", "gated-deltanet", "retnet", "mlstm", "gated-rfa", "gla"]
)
def test_heads_that_do_not_divide_the_width_are_refused(name):
    with refused(ValueError, r"heads must divide the width that they share, \d+, got 5; choose another"):
        ROWS[name](WIDTH, heads=5)


@pytest.mark.parametrize("name", ROWS)
def test_a_layer_is_pickled(name):
    pickle.loads(pickle.dumps(ROWS[name](16)))
