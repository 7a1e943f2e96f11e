"""The rows beyond the paper's table: facts about each that can be computed by hand."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from affine.cases import IMPLEMENTATIONS, distance, offsets_of
from agreement import refused
from scannable import affine
from scannable.affine import Carry
from scannable.affine.rows import HGRN2, RWKV6, DeltaNet, DeltaProduct, GatedDeltaNet, KimiDeltaAttention

WIDTH, HEADS, LENGTH = 8, 2, 11


@pytest.fixture
def seen(monkeypatch):
    """Collect what layers give the recurrence and what they get, ``(inputs by name, outputs)`` for each call."""
    calls, call = [], Carry.recurrence

    def spy(self, q, k, v, **options):
        outputs = call(self, q, k, v, **options)
        calls.append(({"q": q, "k": k, "v": v} | options, outputs))
        return outputs

    monkeypatch.setattr(Carry, "recurrence", spy)
    return calls


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def tokens(batch=2, length=LENGTH):
    return torch.randn(batch, length, WIDTH, dtype=torch.float64)


def as_copied(layer, weights):
    """Give a layer weights by name, all of them."""
    layer.load_state_dict(weights)
    return layer


def test_rwkv6_reads_the_state_before_a_token_and_of_itself_what_the_bonus_lets_through(seen):
    layer = RWKV6(WIDTH, HEADS).double()
    layer.bonus.normal_()
    reads = []
    layer.norm.register_forward_pre_hook(lambda module, given: reads.append(given[0]))
    layer(tokens())
    q, k, v, decay = (seen[0][0][name] for name in ("q", "k", "v", "decay"))
    state, expected = torch.zeros(2, HEADS, 4, 4, dtype=torch.float64), []
    for t in range(LENGTH):
        write = torch.einsum("bhk,bhv->bhkv", k[:, t], v[:, t])
        shown = state + layer.bonus[..., None] * write
        expected.append(torch.einsum("bhkv,bhk->bhv", shown, q[:, t]))
        state = decay[:, t].exp()[..., None] * state + write
    assert distance(reads[0].view(2, LENGTH, HEADS, 4), torch.stack(expected, 1)) < 1e-12


def test_rwkv6_sees_the_token_before_only_through_its_shares(seen):
    layer = RWKV6(WIDTH, HEADS).double()
    layer.share.zero_()
    layer.share_out.zero_()
    x = tokens(1, 2)
    layer(x)
    layer(x[:, 1:])
    layer.share.fill_(1)
    layer(x)
    (own, _), (alone, _), (before, _) = seen
    for name in ("k", "decay"):
        assert distance(own[name][:, 1:], alone[name]) < 1e-12
        assert distance(before[name][:, 1:], own[name][:, :1]) < 1e-12


def test_hgrn2_writes_what_it_forgets_and_keeps_at_least_its_bound(seen):
    HGRN2(WIDTH, HEADS, lower_bound=0.25).double()(30 * tokens())
    HGRN2(WIDTH, HEADS, lower_bound=0.0).double()(30 * tokens())
    for (given, _), bound in zip(seen, (0.25, 0.0), strict=True):
        kept = given["decay"].exp()
        assert distance(given["k"], 1 - kept) < 1e-12
        assert kept.min() >= bound - 1e-7
        assert kept.min() < bound + 0.01
    for bound in (-0.1, 1.0):
        with refused(ValueError, f"at least 0 and below 1, got {bound}"):
            HGRN2(WIDTH, HEADS, lower_bound=bound)


def test_kda_whose_channels_decay_alike_is_gated_deltanets_recurrence(seen):
    layer = KimiDeltaAttention(WIDTH, HEADS).double()
    layer.decay[1].weight.zero_()
    layer.dt_bias.fill_(0.1)
    layer(tokens())
    given, outputs = seen[0]
    decay = given.pop("decay")
    assert decay.shape == given["q"].shape
    assert torch.equal(decay, decay[..., :1].expand_as(decay))
    expected, _ = affine.recurrence(**given, decay=decay[..., 0], implementation="recurrent")
    assert distance(outputs, expected) < 1e-12


def test_deltaproduct_of_one_factor_is_gated_deltanet():
    peer = GatedDeltaNet(WIDTH, HEADS, key_share=1.0, value_share=1.0).double()
    weights = {name.removeprefix("inputs."): x for name, x in peer.state_dict().items()}
    layer = as_copied(DeltaProduct(WIDTH, HEADS, factors=1, negative_eigenvalues=False).double(), weights)
    x = tokens()
    assert distance(layer(x)[0], peer(x)[0]) < 1e-12
    assert distance(layer(x)[1].memory, peer(x)[1].memory) < 1e-12


def test_deltaproduct_of_one_factor_without_gate_has_the_state_of_deltanet():
    peer = DeltaNet(WIDTH, HEADS, negative_eigenvalues=True).double()
    layer = DeltaProduct(WIDTH, HEADS, factors=1, gated=False).double()
    weights = {
        f"{name.removeprefix('inputs.')}": x for name, x in peer.state_dict().items() if "inputs" in name
    }
    out = {name: x for name, x in layer.state_dict().items() if name.startswith("out.")}
    x = tokens()
    assert distance(as_copied(layer, weights | out)(x)[1].memory, peer(x)[1].memory) < 1e-12


@pytest.mark.parametrize("gated", [False, True])
def test_deltaproduct_decays_before_its_first_factor_and_reads_after_its_last(seen, gated):
    layer = DeltaProduct(WIDTH, HEADS, factors=3, gated=gated).double()
    layer(tokens())
    given, outputs = seen[0]
    assert outputs.shape == (2, 3 * LENGTH, HEADS, 4)
    steps = {name: x.unflatten(1, (LENGTH, 3)) for name, x in given.items() if isinstance(x, torch.Tensor)}
    assert not steps["q"][:, :, :2].any()
    assert steps["q"][:, :, 2].norm(dim=-1).sub(1).abs().max() < 0.01
    assert steps["k"].norm(dim=-1).sub(1).abs().max() < 0.01
    assert 1 < steps["erase"].max() < 2
    if gated:
        assert (steps["decay"][:, :, 0] < 0).all()
        assert not steps["decay"][:, :, 1:].any()
    else:
        assert given["decay"] is None


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_packed_sequences_keep_their_ends_when_each_token_is_several_steps(implementation):
    layer = DeltaProduct(WIDTH, HEADS, factors=3).double()
    lengths = [4, 0, 1, 6]
    x = tokens(1, sum(lengths))
    _, first = layer(tokens(len(lengths), 5))
    outputs, state = layer(x, first, offsets=offsets_of(lengths), implementation=implementation)
    for i, piece in enumerate(x.split(lengths, 1)):
        start = first._replace(memory=first.memory[i : i + 1], window=first.window[i : i + 1])
        alone, last = layer(piece, start, implementation=implementation)
        assert distance(outputs.split(lengths, 1)[i], alone) < 1e-12
        assert distance(state.memory[i : i + 1], last.memory) < 1e-12


def test_fewer_factors_than_one_are_refused():
    with refused(ValueError, "factors must be at least 1, got 0"):
        DeltaProduct(WIDTH, HEADS, factors=0)


SWAPS = list(itertools.combinations(range(3), 2))
AS_SWAPS = [[], *([swap] for swap in SWAPS), [SWAPS[0], SWAPS[1]], [SWAPS[1], SWAPS[0]]]
"""All six permutations of three things, each as at most two swaps."""


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_two_reflections_a_token_track_the_permutations_of_three_things(implementation):
    words = [AS_SWAPS[i] for i in torch.randint(6, (200,))]
    places, expected = [0, 1, 2], []
    k, erase = torch.zeros(2, 1, 400, 1, 3, dtype=torch.float64)
    k[..., 0] = 1
    erase = torch.zeros(1, 400, 1, dtype=torch.float64)
    for t, word in enumerate(words):
        for j, (a, b) in enumerate(word):
            k[0, 2 * t + j, 0] = F.normalize(
                F.one_hot(torch.tensor([a, b]), 3).double().diff(dim=0)[0], dim=0
            )
            erase[0, 2 * t + j] = 2
            places = [{a: b, b: a}.get(place, place) for place in places]
        expected.append(places)
    q = torch.arange(3.0, dtype=torch.float64).expand_as(k)
    outputs, state = affine.recurrence(
        q,
        k,
        torch.zeros_like(k),
        erase=erase,
        state=torch.eye(3, dtype=torch.float64)[None, None],
        implementation=implementation,
    )
    assert len({tuple(place) for place in expected}) == 6
    assert torch.equal(outputs[0, 1::2, 0].round(), torch.tensor(expected, dtype=torch.float64))
    assert (outputs - outputs.round()).abs().max() < 1e-11
    assert (state - state.round()).abs().max() < 1e-11


def drawn_factors(count, strongest):
    """Draw tokens of one factor, and return the matrices that they multiply the state with."""
    k = F.normalize(torch.randn(1, count, 1, 3, dtype=torch.float64), dim=-1)
    erase = strongest * torch.rand(1, count, 1, dtype=torch.float64)
    _, (element, _) = affine.lift(k, torch.zeros_like(k), None, erase)
    return element[0, :, 0]


def test_one_factor_cannot_swap_without_negative_eigenvalues():
    """A swap turns the orientation over, and no product of such factors does."""
    swap = torch.eye(3, dtype=torch.float64)[[1, 0, 2]]
    assert torch.linalg.det(swap) == -1
    factors = drawn_factors(300, strongest=1)
    assert (torch.linalg.det(factors) >= 0).all()
    assert (torch.linalg.det(drawn_factors(300, strongest=2)) < 0).any()


def test_one_factor_cannot_rotate_and_two_can():
    """A factor is symmetric, and so at least as far from a rotation as its antisymmetric half is from zero."""
    rotation = torch.eye(3, dtype=torch.float64)[[1, 2, 0]]
    factors = drawn_factors(300, strongest=2)
    assert distance(factors, factors.mT) < 1e-15
    least = (rotation - rotation.mT).norm() / 2
    assert ((factors - rotation).flatten(1).norm(dim=1) >= least - 1e-12).all()
    swap, other = (torch.eye(3, dtype=torch.float64)[order] for order in ([1, 0, 2], [0, 2, 1]))
    assert torch.equal(other @ swap, rotation)
