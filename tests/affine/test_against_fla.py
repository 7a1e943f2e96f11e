"""The recurrences against flash-linear-attention's references in plain PyTorch: code that is not ours.

The files are loaded by their paths, since the package itself cannot be imported without Triton. Two references are left
out: the chunk form in ``hgrn/naive.py`` takes no more than one chunk, and ``gated_delta_product/chunk_ref.py`` calls
kernels. There is none for Mamba-2, whose recurrence is that of simple GLA.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from affine.cases import IMPLEMENTATIONS, Kind, distance, draw, draw_elementwise, offsets_of, run

PACKAGE = importlib.util.find_spec("fla")
pytestmark = pytest.mark.skipif(
    PACKAGE is None, reason="needs flash-linear-attention: pip install --group peers"
)

SUM, SCALAR, DIAGONAL = (Kind(decay, erase=False, read="after") for decay in ("none", "scalar", "diagonal"))
DELTA, GATED_DELTA, KDA = (Kind(decay, erase=True, read="after") for decay in ("none", "scalar", "diagonal"))
RWKV6 = Kind("diagonal", erase=False, read="before")
RAGGED, WHOLE = 70, 128
"""A length for loops over time, and one that chunks of 32 and of 64 tokens fill."""


def load(path, name):
    """Load a function from a file of the package."""
    file = Path(PACKAGE.submodule_search_locations[0]) / "ops" / path
    spec = importlib.util.spec_from_file_location(f"fla_reference_{file.parent.name}_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


@dataclass(frozen=True)
class Peer:
    """A reference: where it is, what it computes, how it is called, and whether it takes a first state."""

    file: str
    name: str
    kind: Kind
    call: Callable
    length: int = RAGGED
    stateful: bool = True

    def __str__(self):
        return self.name


def unscaled(x):
    """Undo the scale that a reference puts on queries."""
    return x["q"] * x["q"].shape[-1] ** 0.5


def heads_first(x):
    return {name: y if name == "state" else y.transpose(1, 2) for name, y in x.items()}


def tokens_first(found):
    outputs, *state = found
    return outputs.transpose(1, 2), *state


def delta_rule(f, x, **options):
    x = heads_first(x)
    return tokens_first(f(unscaled(x), x["k"], x["v"], x["erase"], **options))


def low_rank(f, x, **options):
    """Write the delta rule as ``Diag(a) + b c^T``, where ``c`` reads the state that has not decayed yet."""
    x = heads_first(x)
    erased = x["erase"][..., None]
    gates = {"gk": x["decay"]} if "decay" in x else {}
    alpha = x["k"] * x["decay"].exp() if "decay" in x else x["k"]
    found = f(
        unscaled(x),
        x["k"],
        erased * x["v"],
        alpha,
        -erased * x["k"],
        **gates,
        initial_state=x["state"],
        **options,
    )
    return tokens_first(found)


def in_order(*names, **options):
    """Return a call by position with these inputs, and by name with the state and options."""

    def call(f, x):
        state = {"initial_state": x["state"], "output_final_state": True} if "state" in x else {}
        return f(*(x[name] for name in names), **state, **options)

    return call


PEERS = [
    Peer("linear_attn/naive.py", "naive_recurrent_linear_attn", SUM, in_order("q", "k", "v", scale=1.0)),
    Peer(
        "linear_attn/naive.py",
        "naive_chunk_linear_attn",
        SUM,
        lambda f, x: (f(x["q"], x["k"], x["v"], scale=1.0),),
        length=WHOLE,
        stateful=False,
    ),
    Peer(
        "simple_gla/naive.py",
        "naive_recurrent_simple_gla",
        SCALAR,
        in_order("q", "k", "v", "decay", scale=1.0),
    ),
    Peer(
        "simple_gla/naive.py", "naive_chunk_simple_gla", SCALAR, in_order("q", "k", "v", "decay", scale=1.0)
    ),
    Peer(
        "simple_gla/naive.py",
        "naive_parallel_simple_gla",
        SCALAR,
        lambda f, x: f(x["q"], x["k"], x["v"], x["decay"], scale=1.0)[:1],
        stateful=False,
    ),
    Peer(
        "gla/naive.py",
        "naive_recurrent_gla",
        DIAGONAL,
        lambda f, x: f(unscaled(x), x["k"], x["v"], x["decay"], x["state"], output_final_state=True),
    ),
    Peer(
        "delta_rule/naive.py",
        "delta_rule_recurrence",
        DELTA,
        lambda f, x: delta_rule(f, x, initial_state=x["state"]),
    ),
    Peer("delta_rule/naive.py", "delta_rule_chunkwise", DELTA, delta_rule, length=WHOLE, stateful=False),
    Peer(
        "delta_rule/naive.py",
        "delta_rule_parallel",
        DELTA,
        lambda f, x: delta_rule(f, x)[:1],
        length=WHOLE,
        stateful=False,
    ),
    Peer(
        "gated_delta_rule/naive.py",
        "naive_recurrent_gated_delta_rule",
        GATED_DELTA,
        in_order("q", "k", "v", "erase", "decay", scale=1.0),
    ),
    Peer(
        "gated_delta_rule/naive.py",
        "naive_chunk_gated_delta_rule",
        GATED_DELTA,
        in_order("q", "k", "v", "decay", "erase", scale=1.0),
    ),
    Peer("kda/naive.py", "naive_recurrent_kda", KDA, in_order("q", "k", "v", "decay", "erase", scale=1.0)),
    Peer(
        "kda/naive.py",
        "naive_chunk_kda",
        KDA,
        in_order("q", "k", "v", "decay", "erase", scale=1.0),
        length=WHOLE,
    ),
    Peer("generalized_delta_rule/iplr/naive.py", "iplr_recurrence", DELTA, low_rank),
    Peer("generalized_delta_rule/iplr/naive.py", "iplr_chunkwise", DELTA, low_rank, length=WHOLE),
    Peer("generalized_delta_rule/dplr/naive.py", "dplr_recurrence", KDA, low_rank),
    Peer("generalized_delta_rule/dplr/naive.py", "dplr_chunkwise", KDA, low_rank, length=WHOLE),
]


def found(call, given, *, differentiable=True):
    """Return what a call gives, and its gradients for cotangents that depend on nothing but shapes."""
    given = {name: x.detach().requires_grad_(differentiable) for name, x in given.items()}
    results = call(given)
    if not differentiable:
        return results
    cotangents = [
        torch.randn(x.shape, generator=torch.Generator().manual_seed(i)) for i, x in enumerate(results)
    ]
    gradients = torch.autograd.grad(results, list(given.values()), cotangents)
    return *(x.detach() for x in results), *gradients


def assert_same(ours, theirs, given, *, differentiable=True):
    """All implementations give the peer's outputs, its last states if it has any, and its gradients.

    Args:
        ours: Called with inputs, and options of ``recurrence``; gives outputs and the last state.
        theirs: Called with inputs; gives outputs and, perhaps, the last state.
        given: Inputs by name.
        differentiable: Whether the peer has gradients.
    """
    expected = found(theirs, given, differentiable=differentiable)
    results = len(expected) - differentiable * len(given)
    for name in IMPLEMENTATIONS:
        got = found(
            lambda x, name=name: ours(x, implementation=name)[:results], given, differentiable=differentiable
        )
        for i, (x, y) in enumerate(zip(got, expected, strict=True)):
            assert x.dtype == y.dtype == torch.float32
            assert distance(x, y) < 1e-5, (name, i)


@pytest.mark.parametrize("peer", PEERS, ids=str)
def test_a_recurrence_is_what_the_peer_says(peer):
    function = load(peer.file, peer.name)
    given = draw(peer.kind, 2, peer.length, dtype=torch.float32)
    if not peer.stateful:
        del given["state"]
    assert_same(run, lambda x: peer.call(function, x), given)


def test_retention_decays_by_powers_of_its_heads_number():
    function = load("retention/naive.py", "naive_retention")
    given = draw(SUM, 2, RAGGED, heads=3, dtype=torch.float32)
    del given["state"]
    decay = (1 - 2.0 ** -(5.0 + torch.arange(3))).log().expand(2, RAGGED, 3)

    def theirs(x):
        x = heads_first(x)
        return (function(unscaled(x), x["k"], x["v"]).transpose(1, 2),)

    assert_same(lambda x, **options: run(x | {"decay": decay}, **options), theirs, given)


@pytest.mark.parametrize(("name", "length"), [("recurrent", RAGGED), ("chunk", WHOLE)])
def test_rwkv6_is_the_state_before_a_token_and_a_bonus_for_itself(name, length):
    function = load(
        f"rwkv6/{'recurrent_naive' if name == 'recurrent' else 'chunk_naive'}.py", f"naive_{name}_rwkv6"
    )
    given = draw(RWKV6, 2, length, dtype=torch.float32)
    bonus = torch.randn(2, 5)
    if name == "chunk":
        del given["state"]

    def ours(x, **options):
        x = dict(x)
        u = x.pop("u")
        outputs, state = run(x, read="before", **options)
        return outputs + (x["q"] * u * x["k"]).sum(-1, keepdim=True) * x["v"], state

    def theirs(x):
        x = heads_first({name: y for name, y in x.items() if name != "u"}) | {"u": x["u"]}
        if name == "chunk":
            return (function(x["q"], x["k"], x["v"], x["decay"], x["u"]).transpose(1, 2),)
        options = {"scale": 1.0, "initial_state": x["state"], "output_final_state": True}
        return tokens_first(function(x["q"], x["k"], x["v"], x["decay"], x["u"], **options))

    # The chunk form writes into a tensor that its own gradient needs.
    assert_same(ours, theirs, given | {"u": bonus}, differentiable=name == "recurrent")


@pytest.mark.parametrize("factors", [1, 3])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("lengths", [None, [20, 1, 9]])
def test_a_product_of_factors_is_so_many_steps(factors, gated, lengths):
    function = load("gated_delta_product/naive.py", "naive_recurrent_gated_delta_product")
    batch, length, sequences = (2, 30, 2) if lengths is None else (1, 30, len(lengths))
    given = draw(DELTA, batch, factors * length, first=sequences, dtype=torch.float32)
    given["q"] = given["q"][:, :length]
    if gated:
        given["decay"] = draw(SCALAR, batch, length, dtype=torch.float32)["decay"]

    def ours(x, **options):
        x = dict(x)
        x["q"] = F.pad(x["q"][:, :, None], (0, 0, 0, 0, factors - 1, 0)).flatten(1, 2)
        if gated:
            x["decay"] = F.pad(x["decay"][:, :, None], (0, 0, 0, factors - 1)).flatten(1, 2)
        if lengths is not None:
            options["offsets"] = [factors * i for i in offsets_of(lengths)]
        outputs, state = run(x, **options)
        return outputs[:, factors - 1 :: factors], state

    def theirs(x):
        return function(
            x["q"],
            x["k"],
            x["v"],
            x.get("decay"),
            x["erase"],
            scale=1.0,
            cu_seqlens=None if lengths is None else torch.tensor(offsets_of(lengths)),
            initial_state=x["state"],
            output_final_state=True,
            num_householder=factors,
        )

    assert_same(ours, theirs, given)


def test_hgrn_is_the_elementwise_recurrence():
    function = load("hgrn/naive.py", "naive_recurrent_hgrn")
    given = draw_elementwise(2, RAGGED, 6, dtype=torch.float32)
    assert_same(run, lambda x: function(x["write"], x["decay"], x["state"], output_final_state=True), given)
