"""The stack against a plain one written here; masks, caches and rotations by what they must do."""

import math

import pytest
import torch

from models.subjects import refuses, stir
from scannable.modules import Transformer
from scannable.testing._subject import relative

EXACT = 1e-12


def transformer(positions="absolute"):
    return stir(Transformer(8, 2, 2, positions=positions, slots=32))


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def plain_rotation(x, position):
    """Turn channel pairs (i, i + K/2) one by one, as complex numbers."""
    half = x.shape[-1] // 2
    turned = torch.empty_like(x)
    for slot in range(x.shape[1]):
        for i in range(half):
            angle = (position + slot) * 10_000 ** (-i / half)
            pair = torch.complex(x[:, slot, i], x[:, slot, i + half]) * complex(
                math.cos(angle), math.sin(angle)
            )
            turned[:, slot, i], turned[:, slot, i + half] = pair.real, pair.imag
    return turned


def plain_attention(attention, x, causal, rotary):
    width, heads, slots = x.shape[-1], attention.heads, x.shape[1]
    size = width // heads
    mixed = []
    for head in range(heads):
        rows = [slice(part * width + head * size, part * width + (head + 1) * size) for part in range(3)]
        q, k, v = (x @ attention.qkv.weight[r].T + attention.qkv.bias[r] for r in rows)
        if rotary:
            q, k = plain_rotation(q, 0), plain_rotation(k, 0)
        scores = q @ k.transpose(1, 2) / math.sqrt(size)
        for query in range(slots if causal else 0):
            scores[:, query, query + 1 :] = -torch.inf
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        mixed.append(weights @ v)
    return torch.cat(mixed, -1) @ attention.out.weight.T + attention.out.bias


def plain_norm(norm, x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def plain_transformer(stack, x, causal):
    """GPT-2 as its paper draws it, without a single shortcut."""
    if stack.slots is not None:
        x = x + stack.slots.weight[: x.shape[1]]
    for block in stack.blocks:
        x = x + plain_attention(block.attention, plain_norm(block.attention_norm, x), causal, stack.rotary)
        wide, _, narrow = block.mlp
        hidden = plain_norm(block.mlp_norm, x) @ wide.weight.T + wide.bias
        gelu = hidden * (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3))) / 2
        x = x + gelu @ narrow.weight.T + narrow.bias
    return plain_norm(stack.norm, x)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("positions", ["absolute", "rotary", "none"])
def test_the_stack_is_gpt_2(positions, causal):
    stack, x = transformer(positions), draw(3, 7, 8)
    with torch.no_grad():
        expected = plain_transformer(stack, x, causal)
        assert relative(stack(x, causal=causal), expected) <= EXACT
        for first in range(8):
            got = stack(x, first=first, causal=causal)
            assert got.shape == (3, 7 - first, 8)
            assert relative(got, expected[:, first:]) <= EXACT


@pytest.mark.parametrize("positions", ["absolute", "rotary", "none"])
@pytest.mark.parametrize("sizes", [[7], [1] * 7, [3, 4], [2, 1, 4], [0, 5, 0, 2]], ids=str)
def test_a_cache_in_any_pieces_is_one_causal_pass(positions, sizes):
    stack, x = transformer(positions), draw(3, 7, 8)
    with torch.no_grad():
        expected = plain_transformer(stack, x, causal=True)
        cache, start = (0, ()), 0
        for size in sizes:
            read, cache = stack.extend(cache, x[:, start : start + size])
            assert relative(read, expected[:, start : start + size]) <= EXACT
            start += size
        assert cache[0] == 7
        assert all(y.shape == (3, 7, 2, 4) and y.is_contiguous() for layer in cache[1] for y in layer)


def test_a_cache_may_drop_what_is_not_read():
    stack, x = transformer(), draw(3, 7, 8)
    with torch.no_grad():
        expected, cache = stack.extend((0, ()), x[:, :4])
        got, shorter = stack.extend((0, ()), x[:, :4], first=4)
        assert got.shape == (3, 0, 8)
        ends = [stack.extend(c, x[:, 4:])[0] for c in (cache, shorter)]
    assert relative(*ends) <= EXACT
    assert expected.shape == (3, 4, 8)


def test_rotary_positions_are_relative_and_absolute_ones_are_not():
    x = draw(2, 6, 8)
    for positions, same in (("rotary", True), ("none", True), ("absolute", False)):
        stack = transformer(positions)
        with torch.no_grad():
            assert (relative(stack(x, position=17), stack(x)) <= EXACT) == same


def test_only_no_positions_leave_order_to_the_mask():
    x = draw(2, 6, 8)
    for positions, same in (("rotary", False), ("none", True), ("absolute", False)):
        stack = transformer(positions)
        with torch.no_grad():
            turned = stack(x.flip(1), causal=False).flip(1)
            assert (relative(turned, stack(x, causal=False)) <= EXACT) == same


def test_far_rotations_keep_their_angle_in_float32():
    """A position of ten million is not rounded on its way to an angle."""
    stack = transformer("rotary")
    with torch.no_grad():
        near, far = (stack.float()(draw(2, 6, 8).float(), position=p) for p in (0, 10**7))
    assert (near - far).abs().max() < 1e-5


def test_gradients_reach_every_weight():
    stack = transformer()
    stack(draw(2, 5, 8), first=2).square().sum().backward()
    used = [n for n, p in stack.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert used == [n for n, _ in stack.named_parameters()]
    assert torch.equal(stack.slots.weight.grad[5:], torch.zeros(27, 8, dtype=torch.float64))


@torch.no_grad()
def test_weights_begin_so_that_scales_are_kept():
    stack = Transformer(128, 4, 8, slots=100)
    block = stack.blocks[0]
    assert float(block.attention.qkv.weight.std()) == pytest.approx(128**-0.5, rel=0.05)
    assert float(block.mlp[2].weight.std()) == pytest.approx((512 * 8) ** -0.5, rel=0.05)
    assert float(block.attention.out.weight.std()) == pytest.approx((128 * 8) ** -0.5, rel=0.05)
    assert all(not p.any() for n, p in stack.named_parameters() if n.endswith("bias"))


def test_positions_end_where_they_end():
    stack = transformer()
    with refuses(ValueError, "end at 32", "slot at 32", "read shorter texts, or train with a larger limit"):
        stack(draw(1, 33, 8))
    cache = stack.extend((0, ()), draw(1, 32, 8))[1]
    with refuses(ValueError, "end at 32", "slot at 32", "rotary or no positions"):
        stack.extend(cache, draw(1, 1, 8))
    assert transformer("rotary")(draw(1, 33, 8)).isfinite().all()


@pytest.mark.parametrize(
    ("width", "heads", "layers", "positions"),
    [(9, 2, 1, "none"), (6, 2, 1, "rotary"), (8, 0, 1, "none"), (8, 2, 0, "none")],
)
def test_shapes_that_cannot_be_are_refused(width, heads, layers, positions):
    with refuses(ValueError, "multiple of", f"width={width}, heads={heads}, layers={layers}", "change one"):
        Transformer(width, heads, layers, positions=positions)


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        ({}, "slots=0"),
        ({"positions": "rotery", "slots": 9}, "'rotery' and slots=9"),
        ({"positions": "none", "window": 0}, "slot itself, got 0"),
    ],
)
def test_switches_that_cannot_be_are_refused(switches, words):
    with refuses(ValueError, words):
        Transformer(8, 2, 1, **switches)
