import math

import pytest
import torch

from scannable.tasks import Batch, error_without_last, final_error, loss, token_error


def example(mask=None):
    targets = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])
    mask = torch.ones(2, 4, dtype=torch.bool) if mask is None else torch.tensor(mask)
    return Batch(targets, targets, mask)


def test_the_three_error_rates_differ_in_the_places_they_count():
    predictions = torch.tensor([[1, 2, 0, 0], [4, 3, 2, 1]])  # wrong at places 2 and 3 of the first sequence
    assert token_error(predictions, example()) == 2 / 8
    assert final_error(predictions, example()) == 1 / 2
    assert error_without_last(predictions, example()) == 1 / 6


def test_the_last_place_is_the_last_that_is_asked():
    predictions = torch.tensor([[1, 0, 3, 0], [0, 3, 0, 0]])
    batch = example([[True, True, False, False], [False, False, True, True]])
    assert token_error(predictions, batch) == 3 / 4
    assert final_error(predictions, batch) == 2 / 2
    assert error_without_last(predictions, batch) == 1 / 2


def test_sequences_without_a_question_count_nowhere():
    predictions = torch.tensor([[0, 0, 0, 0], [4, 3, 2, 0]])
    batch = example([[False] * 4, [True] * 4])
    assert token_error(predictions, batch) == 1 / 4
    assert final_error(predictions, batch) == 1


def test_the_loss_is_the_mean_over_the_places_that_are_asked():
    logits = torch.zeros(2, 4, 5)
    assert math.isclose(float(loss(logits, example())), math.log(5), rel_tol=1e-6)
    batch = example([[True, False, False, False], [False] * 4])
    logits[0, 0, 1] = math.log(4)  # probability 4 / 8
    assert math.isclose(float(loss(logits, batch)), math.log(2), rel_tol=1e-6)


def test_gradients_reach_only_the_places_that_are_asked():
    logits = torch.zeros(2, 4, 5, requires_grad=True)
    batch = example([[True, False, True, False], [False] * 4])
    loss(logits, batch).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad.abs().sum(-1) > 0, batch.mask)


def test_predictions_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape of the targets, \(2, 4\), got \(2, 3\); take the argmax"):
        token_error(torch.zeros(2, 3, dtype=torch.int64), example())


def test_an_error_rate_over_no_places_is_refused():
    one = Batch(*(x[:, :1] for x in example()))
    with pytest.raises(
        ValueError, match=r"at least one place that is asked, got none .*\(2, 1\); use longer"
    ):
        error_without_last(one.targets, one)
