"""The public scan: implementations, edges, gradients, errors."""

import pytest
import torch
from torch._higher_order_ops.associative_scan import associative_scan

from agreement import assert_equal, at, definition, refused
from operators import Counting, Learned, MatrixProduct, Reordering, Skew, Sum, draw_skew
from scannable import Counter, scan

IMPLEMENTATIONS = ["parallel", "counter", "reference"]


class Custom:
    """An aggregator from two functions."""

    def __init__(self, combine, identity=torch.zeros_like):
        self.combine = combine
        self.identity = identity


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 21])
def test_implementations_agree(implementation, length, device):
    leaves = {name: x.to(device) for name, x in draw_skew(2, length).items()}
    expected = definition(Skew(), leaves, length)
    exclusive = scan(Skew(), leaves, implementation=implementation)
    assert_equal(exclusive, at(expected, slice(length)))
    inclusive = scan(Skew(), leaves, implementation=implementation, inclusive=True)
    assert_equal(inclusive, at(expected, slice(1, length + 1)))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_no_leaves_call_nothing(implementation):
    def refuse(*_):
        raise AssertionError

    nothing = Custom(refuse, refuse)
    leaves = draw_skew(2, 0)
    for inclusive in (False, True):
        assert_equal(scan(nothing, leaves, implementation=implementation, inclusive=inclusive), leaves)


def test_one_leaf_merges_nothing():
    counting = Counting(Skew())
    leaves = draw_skew(2, 1)
    assert_equal(at(scan(counting, leaves), 0), Skew().identity(at(leaves, 0)))
    assert_equal(scan(counting, leaves, inclusive=True), leaves)
    assert counting.calls == 0


@pytest.mark.parametrize("length", [1, 2, 3, 5, 6, 7, 8, 100])
def test_torch_associative_scan_is_a_third_witness(length):
    leaves = draw_skew(2, length)
    witness = associative_scan(Skew().combine, leaves, dim=1, combine_mode="generic")
    assert_equal(scan(Skew(), leaves, inclusive=True), witness)


@pytest.mark.parametrize("length", [1, 5, 16, 61])
def test_associative_operators_give_the_plain_left_fold(length):
    generator = torch.Generator().manual_seed(0)
    leaves = torch.randint(0, 97, (2, length, 3, 3), generator=generator).double()
    assert torch.equal(scan(Sum(), leaves, inclusive=True), leaves.cumsum(1))
    product = MatrixProduct()
    states = [leaves[:, 0]]
    for t in range(1, length):
        states.append(product.combine(states[-1], leaves[:, t]))
    assert torch.equal(scan(product, leaves, inclusive=True), torch.stack(states, 1))


def test_integer_leaves():
    leaves = torch.randint(0, 50, (2, 19, 3))
    skew = Custom(lambda left, right: (2 * left + 3 * right) % 8191)
    expected = scan(skew, leaves, implementation="reference", inclusive=True)
    got = scan(skew, leaves, inclusive=True)
    assert got.dtype == torch.int64
    assert torch.equal(got, expected)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_nan_reaches_exactly_the_prefixes_that_hold_it(implementation):
    leaves = torch.ones(2, 20, 3)
    leaves[0, 7, 1] = torch.nan
    prefixes = scan(Sum(), leaves, implementation=implementation)
    expected = torch.zeros(2, 20, 3, dtype=torch.bool)
    expected[0, 8:, 1] = True
    assert torch.equal(prefixes.isnan(), expected)


def test_states_of_two_dtypes_keep_them():
    def combine(left, right):
        return {"x": left["x"] + right["x"], "n": left["n"] + right["n"]}

    def identity(like):
        return {name: torch.zeros_like(x) for name, x in like.items()}

    leaves = {"x": torch.ones(1, 5, 2), "n": torch.ones(1, 5, dtype=torch.int64)}
    got = scan(Custom(combine, identity), leaves)
    assert torch.equal(got["n"], torch.arange(5)[None])
    assert got["x"].dtype == torch.float32


def gradients_of(outputs, sources, cotangent):
    return torch.autograd.grad(outputs, sources, cotangent, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("inclusive", [False, True], ids=["exclusive", "inclusive"])
@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 13])
def test_gradients_are_those_of_the_definition(length, inclusive):
    aggregator = Learned(4).double()
    leaves = torch.randn(2, length, 4, dtype=torch.float64, requires_grad=True)
    sources = [leaves, *aggregator.parameters()]
    cotangent = torch.randn(2, length, 4, dtype=torch.float64)
    expected = None
    for options in (
        {"implementation": "reference"},
        {"implementation": "counter"},
        {"implementation": "parallel"},
        {"implementation": "parallel", "recompute": True},
        {"implementation": "parallel", "offsets": None},
    ):
        found = gradients_of(scan(aggregator, leaves, inclusive=inclusive, **options), sources, cotangent)
        expected = expected or found
        for x, y in zip(found, expected, strict=True):
            assert (x - y).norm() <= 1e-12 * y.norm()


@pytest.mark.parametrize("split", [1, 3, 4, 6])
def test_gradients_pass_through_the_counter_into_the_history(split):
    aggregator = Learned(4).double()
    leaves = torch.randn(2, 9, 4, dtype=torch.float64, requires_grad=True)
    sources = [leaves, *aggregator.parameters()]
    cotangent = torch.randn(2, 10, 4, dtype=torch.float64)
    counter = Counter.empty(aggregator, leaves[:, 0])
    first, counter = counter.extend(leaves[:, :split])
    then, counter = counter.extend(leaves[:, split:])
    found = gradients_of(torch.cat([first, then, counter.prefix[:, None]], 1), sources, cotangent)
    whole = [scan(aggregator, leaves), scan(aggregator, leaves, inclusive=True)[:, -1:]]
    expected = gradients_of(torch.cat(whole, 1), sources, cotangent)
    for x, y in zip(found, expected, strict=True):
        assert (x - y).norm() <= 1e-12 * y.norm()


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("length", [2, 5])
def test_gradients_are_those_of_finite_differences(length, recompute):
    aggregator = Learned(2).double()
    leaves = torch.randn(1, length, 2, dtype=torch.float64, requires_grad=True)
    parameters = tuple(aggregator.parameters())

    def function(leaves, *_):
        return scan(aggregator, leaves, inclusive=True, recompute=recompute)

    assert torch.autograd.gradcheck(function, (leaves, *parameters))
    if not recompute:
        assert torch.autograd.gradgradcheck(function, (leaves, *parameters))


def test_recompute_gives_the_same_bits_and_keeps_less():
    aggregator = Learned(8)
    leaves = torch.randn(2, 33, 8, requires_grad=True)
    kept = {}
    found = {}
    for recompute in (False, True):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, s=sizes: s.append(x.nbytes) or x, lambda x: x
        ):
            out = scan(aggregator, leaves, recompute=recompute)
        kept[recompute] = sum(sizes)
        found[recompute] = (out, *torch.autograd.grad(out.square().sum(), [leaves, *aggregator.parameters()]))
    for x, y in zip(found[False], found[True], strict=True):
        assert torch.equal(x, y)
    assert kept[True] < kept[False]


def test_recompute_without_gradients_runs_combine_once():
    counting = Counting(Sum())
    with torch.no_grad():
        scan(counting, torch.zeros(1, 9), recompute=True)
    once = Counting(Sum())
    scan(once, torch.zeros(1, 9))
    assert counting.calls == once.calls


def test_deterministic_algorithms():
    aggregator = Learned(4)
    leaves = torch.randn(1, 21, 4, requires_grad=True)
    torch.use_deterministic_algorithms(True)
    try:
        runs = [
            torch.autograd.grad(scan(aggregator, leaves, **options).square().sum(), leaves)[0]
            for options in ({}, {}, {"offsets": [0, 8, 21]}, {"offsets": [0, 8, 21]})
        ]
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[2], runs[3])


@pytest.mark.compile
@pytest.mark.parametrize("backend", ["aot_eager"])
def test_a_scan_compiles_in_one_graph(backend):
    aggregator = Learned(4).double()
    leaves = torch.randn(2, 11, 4, dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(lambda x: scan(aggregator, x), fullgraph=True, backend=backend)
    out, expected = compiled(leaves), scan(aggregator, leaves)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=0)
    cotangent = torch.randn_like(out)
    sources = [leaves, *aggregator.parameters()]
    for x, y in zip(
        gradients_of(out, sources, cotangent), gradients_of(expected, sources, cotangent), strict=True
    ):
        assert (x - y).norm() <= 1e-12 * y.norm()


@pytest.mark.parametrize("leaves", [torch.tensor(1.0), torch.zeros(3)], ids=["scalar", "vector"])
def test_leaves_of_wrong_rank_are_refused(leaves):
    with pytest.raises(ValueError, match=r"shape \(B, N, \.\.\.\).*got \[\(.*\)\]; put batch first"):
        scan(Sum(), leaves)


def test_tensors_of_a_state_must_agree_on_batch_length_and_device():
    one_length = r"one B and one N for all tensors of the state, got \[\(2, 3\), \(2, 4\)\]"
    with pytest.raises(ValueError, match=one_length):
        scan(Skew(), [torch.zeros(2, 3), torch.zeros(2, 4)])
    with pytest.raises(ValueError, match=r"on one device, got .*cpu.*meta.*; move them with"):
        scan(Skew(), [torch.zeros(2, 3), torch.zeros(2, 3, device="meta")])


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match=r"at least one sequence, got shape \(0, 4\); skip empty batches"):
        scan(Sum(), torch.zeros(0, 4))


@pytest.mark.parametrize(
    ("leaves", "got"), [("text", r"\['str'\]"), ([1, 2.0], r"\['float', 'int'\]"), ([], "nothing")]
)
def test_leaves_that_are_no_tensors_are_refused(leaves, got):
    with pytest.raises(TypeError, match=rf"a pytree of tensors, got one that holds {got}; keep settings"):
        scan(Sum(), leaves)


CHANGES = {
    "shape": lambda x: x[..., :1],
    "rows": lambda x: x[:1],
    "dtype": lambda x: x.double(),
    "device": lambda x: x.to("meta"),
}


@pytest.mark.parametrize("implementation", ["parallel", "counter"])
@pytest.mark.parametrize("change", CHANGES)
def test_an_aggregator_that_changes_the_form_is_refused(change, implementation):
    aggregator = Custom(lambda left, right: CHANGES[change](left))
    rule = r"A merged state must be .* got .*; combine must return a state like `left`, row for row"
    with pytest.raises(ValueError, match=rule):
        scan(aggregator, torch.zeros(2, 5, 3), implementation=implementation)


def test_an_aggregator_that_changes_the_structure_is_refused():
    aggregator = Custom(lambda left, right: (left, right))
    with pytest.raises(
        ValueError, match=r"A merged state must have the structure (?s:.*)got (?s:.*); combine must"
    ):
        scan(aggregator, torch.zeros(2, 5, 3))


@pytest.mark.parametrize("change", CHANGES)
def test_an_identity_of_another_form_is_refused(change):
    aggregator = Custom(lambda left, right: left, CHANGES[change])
    with pytest.raises(
        ValueError, match=r"The identity must be .* got .*; identity must return a state like"
    ):
        scan(aggregator, torch.zeros(2, 5, 3))


def test_unknown_implementations_are_refused_with_the_list():
    rule = r"one of \['parallel', 'counter', 'reference'\], got 'fast'"
    with refused(ValueError, rule):
        scan(Sum(), torch.zeros(1, 2), implementation="fast")


@pytest.mark.parametrize("implementation", ["counter", "reference"])
def test_recompute_of_other_implementations_is_refused(implementation):
    with pytest.raises(ValueError, match=rf"needs implementation='parallel', got '{implementation}'; leave"):
        scan(Sum(), torch.zeros(1, 2), implementation=implementation, recompute=True)


def test_keys_of_a_dict_come_in_any_order():
    leaves = {"a": torch.rand(2, 5), "b": torch.rand(2, 5)}
    states = scan(Reordering(), leaves, inclusive=True)
    assert torch.equal(states["a"], leaves["a"].cummax(1).values)
    torch.testing.assert_close(states["b"], leaves["b"].cumsum(1))
    counter = Counter.empty(Reordering(), at(leaves, 0)).push(at(leaves, 0)).push(at(leaves, 1))
    assert torch.equal(counter.prefix["a"], states["a"][:, 1])
    with pytest.raises(ValueError, match="must have the structure"):
        counter.push({"a": leaves["a"][:, 0], "c": leaves["b"][:, 0]})
