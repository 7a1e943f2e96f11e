from dataclasses import replace

import pytest
import torch
from torch import nn

from scannable.models import DecoderConfig, TransformerPSMConfig, build
from scannable.tasks import WordProblem, WordProblemConfig, loss
from scannable.training import evaluate
from training.runs import assert_choice_is_refused

TASK = WordProblem(WordProblemConfig(group="S3"))
MODELS = {
    "psm": TransformerPSMConfig(width=16, heads=2, chunk=4, inference_layers=1),
    "decoder": DecoderConfig(width=16, heads=2, layers=1),
}


class Oracle(nn.Module):
    """Answers right, but for the places given, where it answers the next element."""

    def __init__(self, *wrong):
        super().__init__()
        self.wrong = list(wrong)
        self.weight = nn.Parameter(torch.zeros(1))
        self.sizes = []

    def forward(self, tokens):
        self.sizes.append(tokens.numel())
        answers = TASK.products(tokens)
        answers[:, self.wrong] = (answers[:, self.wrong] + 1) % 6
        return 20.0 * nn.functional.one_hot(answers, 6).float()


@pytest.fixture(params=MODELS)
def model(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(MODELS[request.param], TASK.vocabulary)


def test_each_metric_is_taken_over_its_places():
    first, second = evaluate(Oracle(0, 7), TASK, [8, 16], sequences=10)
    assert (first.length, first.form, first.sequences) == (8, "parallel", 10)
    assert (first.error, first.final_error, first.error_without_last) == (2 / 8, 1.0, 1 / 7)
    assert (second.error, second.final_error, second.error_without_last) == (2 / 16, 0.0, 2 / 15)
    assert first.loss == pytest.approx(5.0, rel=1e-4)
    assert first.stream_bytes is None
    assert first.tokens_per_second == pytest.approx(80 / first.seconds)


def test_no_place_is_left_without_the_last_of_one():
    (record,) = evaluate(Oracle(), TASK, [1])
    assert record.error_without_last is None
    assert record.error == record.final_error == 0


def test_memory_is_bounded_by_the_tokens_given_at_once():
    oracle = Oracle()
    evaluate(oracle, TASK, [10], sequences=7, tokens=20)
    assert oracle.sizes == [20, 20, 20, 10]
    oracle.sizes.clear()
    evaluate(oracle, TASK, [10], sequences=2, tokens=3)
    assert oracle.sizes == [10, 10]


@pytest.mark.parametrize("tokens", [1, 14, 65_536])
def test_how_sequences_are_cut_changes_nothing(model, tokens):
    (whole,) = evaluate(model, TASK, [7], sequences=3)
    for form in ("parallel", "streaming"):
        for piece in (1, 3, 100):
            (cut,) = evaluate(model, TASK, [7], sequences=3, form=form, piece=piece, tokens=tokens)
            assert (cut.error, cut.final_error) == (whole.error, whole.final_error)
            assert cut.loss == pytest.approx(whole.loss, rel=1e-5)


def test_the_loss_is_the_mean_over_all_places(model):
    (record,) = evaluate(model, TASK, [9], sequences=5, form="streaming", piece=4, seed=3)
    model.eval()
    assert record.loss != evaluate(model, TASK, [9], sequences=5, seed=4)[0].loss
    seen = []
    spy = {"vocabulary": 6, "batch": lambda _, *a: seen.append(TASK.batch(*a)) or seen[0]}
    task = type("Spy", (), spy)()
    evaluate(model, task, [9], sequences=5, seed=3)
    with torch.no_grad():
        assert record.loss == pytest.approx(float(loss(model(seen[0].tokens), seen[0])), rel=1e-5)


def test_records_depend_on_the_seed_and_not_on_the_other_lengths(model):
    def scores(*lengths, **options):
        records = evaluate(model, TASK, lengths, sequences=16, **options)
        return [replace(record, seconds=0.0, tokens_per_second=0.0) for record in records]

    assert scores(5, 9) == [*scores(5), *scores(9)]
    assert scores(9) != scores(9, seed=1)


def test_the_stream_of_a_psm_stays_small_and_that_of_a_decoder_grows():
    def nbytes(config, length):
        (record,) = evaluate(build(config, 6), TASK, [length], sequences=3, form="streaming", piece=16)
        return record.stream_bytes

    assert nbytes(MODELS["psm"], 256) < 3 * nbytes(MODELS["psm"], 32)
    assert nbytes(MODELS["decoder"], 256) > 7 * nbytes(MODELS["decoder"], 32)


def test_evaluation_leaves_the_model_and_the_generators_as_they_were(model):
    model.train()
    before = torch.get_rng_state()
    evaluate(model, TASK, [3], sequences=2)
    assert model.training
    assert torch.equal(before, torch.get_rng_state())
    assert all(x.grad is None for x in model.parameters())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sequences": 0}, "at least 1, got sequences=0"),
        ({"piece": 0}, "piece=0"),
        ({"tokens": 0}, "tokens=0; raise them"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        evaluate(Oracle(), TASK, [3], **options)


def test_an_unknown_form_is_refused_with_the_choices():
    words = "form must be one of ['parallel', 'streaming'], got 'serial'; choose one of these."
    assert_choice_is_refused(lambda: evaluate(Oracle(), TASK, [3], form="serial"), words)
