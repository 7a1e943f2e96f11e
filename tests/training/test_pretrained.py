"""The packaged model: it is small, and right at every length, which a finite table proves."""

import pytest
import torch

from scannable.experiments import products
from scannable.tasks import WordProblem
from scannable.training import evaluate, pretrained


@pytest.fixture(scope="module")
def s5():
    return pretrained("s5")


def test_every_product_of_two_elements_is_right_by_a_wide_margin(s5):
    model, config = s5
    found = products(model, WordProblem(config.task).group)
    assert found["pairs"] == 120 * 120
    assert (found["wrong_merges"], found["wrong_answers"], found["wrong_singles"]) == (0, 0, 0)
    assert found["margin"] > 5


def test_products_notices_one_wrong_merge(s5):
    model, config = s5
    group = WordProblem(config.task).group
    table = group.table.clone()
    table[3, 5] = table[3, 6]
    wrong = products(model, type(group)(name="", elements=group.elements, generators=(), table=table))
    assert (wrong["wrong_merges"], wrong["wrong_answers"]) == (1, 1)


def test_it_was_trained_on_short_words_only_and_reads_long_ones(s5):
    model, config = s5
    assert config.task.longest == 18
    (found,) = evaluate(
        model, WordProblem(config.task), [20_000], sequences=1, form="streaming", piece=700, singles=9
    )
    assert found.error == 0
    assert found.stream_bytes < 16_000


def test_its_file_is_small():
    weights = sum(x.numel() * x.element_size() for x in pretrained("s5")[0].parameters())
    assert weights < 1_000_000


def test_loading_it_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    pretrained("s5")
    assert torch.equal(before, torch.get_rng_state())
