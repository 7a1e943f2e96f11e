"""The intro counts what it shows, and fails if a bracket or a prediction is wrong."""

import json

import torch

from scannable.cli import main
from scannable.cli._intro import Options, read


class Oracle:
    """A model that knows the labels, and says something else at one place."""

    def __init__(self, labels, wrong):
        self.labels, self.wrong = labels.clone(), wrong
        if wrong is not None:
            self.labels[0, wrong] = (self.labels[0, wrong] + 1) % 5

    def start(self, batch):
        return Place(0)

    def prefill(self, stream, tokens, logits):
        stop = stream.count + tokens.shape[1]
        logits = torch.nn.functional.one_hot(self.labels[:, stream.count : stop], 5)
        return logits, Place(stop)


class Place:
    nbytes = 40

    def __init__(self, count):
        self.count = count


def last(options, wrong=None):
    total = options.tokens + options.steps
    tokens = torch.randint(5, (1, total))
    return list(read(Oracle(tokens, wrong), tokens, tuple("abcde"), tokens, options))[-1]


def test_every_token_is_read_once_in_pieces_and_then_in_steps():
    reading = last(Options(tokens=10_000, steps=7))
    assert (reading.tokens, reading.steps, reading.errors) == (10_007, 7, 0)
    assert reading.pieces > 1


def test_one_wrong_answer_is_found_wherever_it_is():
    for place in (0, 9_999, 10_000, 10_006):
        assert last(Options(tokens=10_000, steps=7), place).errors == 1


def test_a_model_that_is_wrong_gives_1_and_an_honest_record(run, capsys):
    assert main(["intro", "--model", str(run), "--tokens", "200", "--steps", "3", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["errors"] > 0
    assert not record["passed"]
    assert all(prefix["equal"] for prefix in record["prefixes"])


def test_people_see_the_tree_both_forms_and_what_to_run_next(run, capsys):
    main(["--model", str(run), "--tokens", "200", "--steps", "3"])
    text = capsys.readouterr().out
    assert text.count("(((pr)(ef))(ix))") == 2
    assert "equal bracket by bracket" in text
    assert "KB of state" in text
    assert "scannable demo" in text
