"""Every law holds for subjects that are sound, and the subjects are left as they were."""

import copy

import pytest
import torch

import scannable as sc
from agreement import refused
from operators import (
    Either,
    Free,
    InPlace,
    Learned,
    MatrixProduct,
    Maximum,
    Pair,
    Product,
    Reordering,
    Skew,
    Sum,
    draw_skew,
)
from scannable import testing
from toy_models import ToyPSM

PAIR = torch.ones(2, 9, 3).double(), torch.ones(2, 9, 1, 2).double()
SUBJECTS = {
    "Sum": (Sum, lambda: torch.randn(2, 11, 3)),
    "MatrixProduct": (MatrixProduct, lambda: torch.randint(0, 9, (2, 11, 2, 2)).double()),
    "Skew": (Skew, lambda: draw_skew(2, 13)),
    "Pair": (Pair, lambda: PAIR),
    "Reordering": (Reordering, lambda: {"a": torch.rand(2, 9), "b": torch.rand(2, 9)}),
    "Free": (Free, lambda: torch.arange(22).reshape(2, 11)),
    "Learned": (lambda: Learned(8), lambda: torch.randn(2, 21, 8)),
    "Maximum": (Maximum, lambda: torch.randn(2, 11, 3)),
    "Maximum of infinities": (Maximum, lambda: torch.full((2, 11, 3), -torch.inf)),
    "Either": (Either, lambda: torch.rand(2, 11, 3) < 0.1),
    "Either, never": (Either, lambda: torch.zeros(2, 11, dtype=torch.bool)),
    "Product": (Product, lambda: torch.randn(2, 11, 3, dtype=torch.complex64)),
    "Sum of NaN": (Sum, lambda: torch.full((2, 11, 3), torch.nan)),
    "Sum of the lowest integers": (Sum, lambda: torch.full((2, 11), torch.iinfo(torch.int64).min)),
    "PrefixScannableMixer": (lambda: sc.PrefixScannableMixer(16, chunk=4), lambda: torch.randn(2, 18, 16)),
    "ToyPSM": (ToyPSM, lambda: torch.randint(0, 11, (2, 20))),
    "ToyPSM, T = 1": (ToyPSM, lambda: torch.randint(0, 11, (2, 1))),
    "ToyPSM, associative": (lambda: ToyPSM(aggregator=Sum()), lambda: torch.randint(0, 11, (2, 17))),
}


@pytest.fixture(params=SUBJECTS)
def subject(request):
    make, draw = SUBJECTS[request.param]
    return make(), draw()


@pytest.mark.parametrize("law", ["duality", "batch_independent", "counts", "resume"])
def test_laws_of_aggregators_and_models(law, subject):
    getattr(testing, f"assert_{law}")(*subject)


def test_duality_of_few_leaves():
    for length in range(1, 12):
        testing.assert_duality(Learned(4), torch.randn(1, length, 4))


@pytest.mark.parametrize("subject", ["Learned", "ToyPSM", "Product", "PrefixScannableMixer"], indirect=True)
def test_duality_of_gradients(subject):
    report = testing.assert_duality(*subject, gradients=True)
    assert 0 < report["float64: largest relative distance of gradients"] < 1e-13


@pytest.mark.parametrize(
    "name",
    [
        "Sum",
        "MatrixProduct",
        "Skew",
        "Reordering",
        "Free",
        "Learned",
        "Maximum",
        "Either",
        "Product",
        "Sum of NaN",
    ],
)
def test_identities(name):
    make, draw = SUBJECTS[name]
    leaves = draw()
    like = {k: x[:, 0] for k, x in leaves.items()} if isinstance(leaves, dict) else leaves[:, 0]
    testing.assert_identity(make(), like)


def test_keys_in_another_order_are_no_other_form():
    testing.assert_associative(Reordering(), {"a": torch.rand(2, 9), "b": torch.rand(2, 9)})


def test_neutrality_is_told_for_information():
    assert (
        testing.check_identity(Sum(), torch.randn(2, 3))["as left operand, relative distance from neutral"]
        == 0
    )
    learned = testing.check_identity(Learned(3), torch.randn(2, 3))
    assert learned["as right operand, relative distance from neutral"] > 0.01

    class Refusing(Sum):
        def combine(self, left, right):
            raise ValueError("not with me")

    report = testing.check_identity(Refusing(), torch.randn(2, 3))
    assert report["as left operand, relative distance from neutral"] == "combine refuses it"
    assert report.passed


def test_associativity_is_a_measure():
    leaves = torch.randint(0, 9, (2, 12, 2, 2)).double()
    assert testing.assert_associative(MatrixProduct(), leaves)["largest deviation"] == 0
    assert testing.check_associative(Sum(), torch.randn(2, 12, 3))["largest deviation"] < 1e-14
    report = testing.check_associative(Skew(), draw_skew(2, 12))
    assert not report.passed
    assert report["largest deviation"] > 0.1
    assert report["triples"] == 20


@pytest.mark.parametrize("name", ["Sum", "MatrixProduct", "Free", "Maximum", "Either", "Product"])
def test_associativity_of_any_kind_of_state(name):
    if name == "Free":
        assert not testing.check_associative(Free(), torch.arange(22).reshape(2, 11)).passed
    else:
        make, draw = SUBJECTS[name]
        testing.assert_associative(make(), draw())


def test_causality_of_vectors():
    mixer, vectors = sc.PrefixScannableMixer(16, chunk=4), torch.randn(2, 11, 16)
    assert testing.assert_causal(mixer, vectors)["places where the token is seen"] == 11
    ints = testing.check_duality(ToyPSM(), torch.randint(0, 11, (2, 9)))
    assert "predictions" in ints.table[0]
    assert "predictions" not in testing.check_duality(mixer, vectors).table[0]


def test_counts_of_learned_identities():
    config = sc.TransformerPSMConfig(width=16, heads=2, chunk=4, identity="learned")
    testing.assert_counts(sc.TransformerPSM(config, 11), torch.randint(0, 11, (1, 16)))

    class Plain:
        """Holds a module, and a parameter that does not belong to it."""

        def __init__(self):
            self.linear = torch.nn.Linear(6, 3)
            self.start = torch.nn.Parameter(torch.randn(3))

        def combine(self, left, right):
            return self.linear(torch.cat([left, right], -1))

        def identity(self, like):
            return self.start.expand_as(like)

    plain = Plain()
    testing.assert_counts(plain, torch.randn(2, 7, 3, requires_grad=True))
    assert plain.start.requires_grad
    assert plain.linear.weight.requires_grad


@pytest.mark.parametrize(
    "law", ["duality", "batch_independent", "counts", "resume", "associative", "identity"]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("batch", [1, 2])
def test_an_operator_that_writes_into_its_operands_does_not_reach_the_callers(law, dtype, batch):
    leaves = torch.arange(11 * batch).reshape(batch, 11).to(dtype)
    if law == "batch_independent":
        leaves = torch.cat([leaves, leaves])
    before = leaves.clone()
    report = getattr(testing, f"check_{law}")(InPlace(), leaves[:, 0] if law == "identity" else leaves)
    assert torch.equal(leaves, before)
    if law in ("associative", "identity"):
        assert report.passed


def test_tensors_that_cannot_be_cast_are_told():
    class Plain(Sum):
        def __init__(self):
            self.weight = torch.eye(3)

        def combine(self, left, right):
            return left @ self.weight + right

    class Unregistered(Plain, torch.nn.Module):
        def __init__(self):
            torch.nn.Module.__init__(self)
            Plain.__init__(self)

    for law in ("duality", "batch_independent", "associative"):
        for make in (Plain, Unregistered):
            with refused(
                TypeError, r"holds tensors in torch.float32.*make it an nn.Module.*or take the dtype of the"
            ):
                getattr(testing, f"check_{law}")(make(), torch.randn(2, 5, 3))

    class Broken(Plain):
        def combine(self, left, right):
            raise ValueError("out of order")

    with pytest.raises(ValueError, match="out of order"):
        testing.check_duality(Broken(), torch.randn(2, 5, 3))


def test_causality():
    report = testing.assert_causal(ToyPSM(), torch.randint(0, 11, (2, 14)))
    assert report["places where not a bit changed"] == report["places where the token is seen"] == 14


def test_causality_is_tried_on_both_sides_of_chunk_boundaries():
    report = testing.check_causal(ToyPSM(), torch.randint(0, 11, (1, 300)), places=8)
    places = {row["place"] for row in report.table}
    assert {0, 2, 3, 299} <= places
    assert len(places) <= 16


def test_counts_measure_the_exponents():
    leaves, tokens = torch.randn(1, 256, 8), torch.randint(0, 11, (1, 300))
    report = testing.assert_counts(Learned(8), leaves, work=1.15, memory=0.35)
    assert 1.0 < report["work exponent"] < 1.15
    row = report.table[-1]
    assert (row["merges"], row["calls"], row["push"]) == (494, 14, 502)
    assert row["flops"] == 494 * 2 * 2 * 16 * 8
    assert not testing.check_counts(Learned(8), leaves, work=0.9).passed
    model = testing.assert_counts(ToyPSM(), tokens, lengths=[75, 150, 300], work=1.15, memory=0.35)
    assert model.table[-1]["merges"] == 99 * 2 - 4 - 7
    assert model.table[-1]["streamed merges"] == 100 * 2 - 3 - 7


def test_subjects_are_left_as_they_were():
    model, tokens = ToyPSM().train(), torch.randint(0, 11, (2, 10))
    before = copy.deepcopy(model.state_dict())
    for law in ("duality", "causal", "batch_independent", "counts", "resume"):
        getattr(testing, f"check_{law}")(model, tokens)
    assert model.training
    assert type(model.aggregator) is Learned
    assert "combine" not in vars(model.aggregator)
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_what_is_neither_aggregator_nor_model_is_refused():
    with refused(TypeError, r"an aggregator \(combine, identity\) or a model .*got dict; give it"):
        testing.check_duality({}, torch.zeros(1, 3))
    with refused(TypeError, "needs an object, got the class Sum; call it first"):
        testing.check_duality(Sum, torch.zeros(1, 3))
    with refused(TypeError, r"about models, got the aggregator Sum; scans of any aggregator are causal"):
        testing.check_causal(Sum(), torch.zeros(1, 3, dtype=torch.int64))


@pytest.mark.parametrize("law", ["duality", "batch_independent", "counts", "resume"])
def test_inputs_that_cannot_show_a_law_are_refused(law):
    check = getattr(testing, f"check_{law}")
    with pytest.raises(TypeError, match=r"a tensor of integers or floating.*, got torch.bool; pass ids"):
        check(ToyPSM(), torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(
        ValueError,
        match=r"Tokens must have shape \(B, T\) or \(B, T, \*token\) with B >= .*got \(3,\); pass more",
    ):
        check(ToyPSM(), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(
        ValueError, match=r"Leaves must have shape \(B, N, \.\.\.\) with .*got \(2, 0\); pass more"
    ):
        check(Sum(), torch.zeros(2, 0))


def test_single_rows_tokens_and_lengths_are_refused():
    with pytest.raises(ValueError, match=r"B >= 2 .*got \(1, 3\); pass more"):
        testing.check_batch_independent(Sum(), torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"at least two different ones, got only \[0\]; draw them"):
        testing.check_causal(ToyPSM(), torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(
        ValueError, match=r"lengths must be between 1 and 3, the length of the inputs, got \[4\]"
    ):
        testing.check_counts(Sum(), torch.zeros(1, 3), lengths=[4])
    with pytest.raises(ValueError, match=r"N >= 3 for this law, got \(1, 2\); pass more"):
        testing.check_associative(Sum(), torch.zeros(1, 2))
    for check in (testing.check_causal, testing.check_resume):
        with refused(ValueError, "places must be at least 1, got 0"):
            check(ToyPSM(), torch.arange(9)[None], places=0)


def test_gradients_where_there_are_none_are_refused():
    for subject, inputs in (
        (Sum(), torch.randint(0, 9, (1, 9))),
        (ToyPSM().requires_grad_(False), torch.arange(9)[None]),
    ):
        with refused(
            ValueError, "Gradients need parameters or leaves that have them, got none; call requires"
        ):
            testing.check_duality(subject, inputs, gradients=True)


def test_states_of_no_numbers_are_one_function():
    testing.assert_duality(Sum(), torch.zeros(2, 9, 0))


class Fixed(tuple):
    """An operator that takes no attributes."""

    __slots__ = ()
    combine, identity = Sum.combine, Sum.identity


def test_counts_of_a_model_whose_aggregator_takes_no_attributes():
    testing.assert_counts(ToyPSM(aggregator=Fixed()), torch.randint(0, 11, (1, 20)))
