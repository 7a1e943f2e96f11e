import pytest
import torch

from counting import operators
from scannable.tasks import Task, WordProblem, WordProblemConfig

GROUPS = ["S3", "S5", "A5", "C5", "D4", "parity"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("inputs", ["all", "generators"])
@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("length", [1, 2, 3, 17, 64])
def test_every_target_is_the_product_of_the_permutations_so_far(name, inputs, length):
    task = WordProblem(WordProblemConfig(group=name, inputs=inputs))
    elements = task.group.elements
    batch = task.batch(3, length, generator())
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        state = list(range(len(elements[0])))
        for token, target in zip(tokens, targets, strict=True):
            state = [state[j] for j in elements[token]]
            assert elements[target] == tuple(state)


def test_a_batch_has_the_form_that_training_expects():
    task = WordProblem(WordProblemConfig())
    assert isinstance(task, Task)
    assert task.vocabulary == 120
    batch = task.batch(4, 7, generator())
    assert {x.shape for x in batch} == {(4, 7)}
    assert [x.dtype for x in batch] == [torch.int64, torch.int64, torch.bool]
    assert batch.mask.all()
    assert torch.equal(batch.rows(1, 3).targets, batch.targets[1:3])
    assert batch.to("meta").tokens.device.type == "meta"


@pytest.mark.parametrize("inputs", ["all", "generators"])
def test_a_batch_is_determined_by_its_generator_and_nothing_else(inputs):
    task = WordProblem(WordProblemConfig(group="S4", inputs=inputs))
    first = task.batch(8, 9, generator(1))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert all(torch.equal(x, y) for x, y in zip(first, task.batch(8, 9, generator(1)), strict=True))
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first.tokens, task.batch(8, 9, generator(2)).tokens)
    going_on = generator(1)
    assert not torch.equal(task.batch(8, 9, going_on).tokens, task.batch(8, 9, going_on).tokens)


def test_inputs_are_uniform_over_all_elements_or_the_identity_and_the_generators():
    task = WordProblem(WordProblemConfig(group="A5"))
    counts = task.batch(600, 100, generator()).tokens.flatten().bincount(minlength=60)
    assert counts.min() > 800
    assert counts.max() < 1200
    few = WordProblem(WordProblemConfig(group="A5", inputs="generators"))
    read = few.batch(100, 100, generator())
    assert set(read.tokens.unique().tolist()) == {0, *few.group.generators}
    assert len(read.targets.unique()) == 60


def test_twice_as_many_tokens_take_one_round_more():
    task = WordProblem(WordProblemConfig())
    calls = [operators(lambda n=n: task.batch(1, n, generator())) for n in (1 << 10, 1 << 11, 1 << 12)]
    assert calls[0] < calls[1]
    assert calls[2] - calls[1] == calls[1] - calls[0]


def test_a_million_tokens_are_right_to_the_last():
    task = WordProblem(WordProblemConfig())
    batch = task.batch(1, 1_000_000, generator())
    state, table = 0, task.group.table.tolist()
    for token in batch.tokens[0].tolist():
        state = table[state][token]
    assert batch.targets[0, -1] == state


def test_numbers_of_no_element_are_refused():
    task = WordProblem(WordProblemConfig(group="S3"))
    for words in ([[0, -1]], [[6]]):
        with pytest.raises(ValueError, match=r"Elements of S3 are 0\.\.5, got .*; is it another group's"):
            task.products(torch.tensor(words))


def test_products_of_one_letter_are_a_copy():
    batch = WordProblem(WordProblemConfig()).batch(2, 1, generator())
    assert torch.equal(batch.tokens, batch.targets)
    assert batch.tokens.data_ptr() != batch.targets.data_ptr()


@pytest.mark.parametrize(("size", "length"), [(0, 3), (3, 0), (-1, 3)])
def test_an_empty_batch_is_refused(size, length):
    with pytest.raises(
        ValueError, match=rf"size >= 1 and length >= 1, got size={size} and length={length}; skip"
    ):
        WordProblem(WordProblemConfig(group="S3")).batch(size, length, generator())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"group": "S99"}, "at most 2,048"),
        ({"group": "M11"}, "group must be one of"),
        ({"shortest": 0}, "1 <= shortest <= longest, got shortest=0 and longest=18; change"),
        ({"shortest": 9, "longest": 8}, "got shortest=9 and longest=8"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        WordProblemConfig(**fields)
