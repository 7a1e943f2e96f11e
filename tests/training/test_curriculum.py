from collections import Counter

import pytest
import torch

from scannable.training import Curriculum, CurriculumConfig


def begin(*stages, shortest=1, longest=16, threshold=0.1):
    config = CurriculumConfig(stages=stages, threshold=threshold)
    return Curriculum.begin(config, shortest, longest)


def test_it_moves_on_when_a_length_is_solved_and_only_then():
    curriculum = begin(4, 8)
    assert curriculum.stages == (4, 8, 16)
    for error, length in [(1.0, 4), (0.11, 4), (0.1, 8), (0.5, 8), (0.0, 16), (0.2, 16)]:
        curriculum = curriculum.observe(error)
        assert curriculum.length == length
        assert not curriculum.solved
    assert curriculum.observe(0.05).solved
    assert curriculum.observe(0.05).length == 16


def test_it_is_solved_as_long_as_the_latest_check_of_the_last_length_says_so():
    curriculum = begin().observe(0.0)
    assert curriculum.solved
    assert not curriculum.observe(0.5).solved
    assert curriculum.observe(0.5).observe(0.1).solved


def test_a_stage_that_is_never_solved_is_never_left():
    curriculum = begin(4)
    for _ in range(50):
        curriculum = curriculum.observe(0.2)
    assert (curriculum.length, curriculum.solved) == (4, False)


def test_an_error_that_is_not_a_number_solves_nothing():
    assert begin(4).observe(float("nan")).length == 4


@pytest.mark.parametrize(
    ("shortest", "stage", "lengths"),
    [(1, 0, {1, 2, 3, 4}), (3, 0, {3, 4}), (4, 0, {4}), (9, 0, {4}), (9, 1, {9, 10}), (10, 1, {10})],
)
def test_lengths_are_drawn_uniformly_up_to_the_current_one(shortest, stage, lengths):
    curriculum = begin(4, shortest=shortest, longest=10).at(stage, solved=False)
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(curriculum.draw(generator) for _ in range(400))
    assert set(drawn) == lengths
    assert min(drawn.values()) > 400 / len(lengths) * 0.7


@pytest.mark.parametrize("stages", [(8, 4), (4, 4), (0, 4)])
def test_stages_that_do_not_grow_are_refused(stages):
    with pytest.raises(ValueError, match=r"stages must be lengths >= 1 that grow, got \(.*\); sort them"):
        CurriculumConfig(stages=stages)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"threshold": 1.0}, "threshold must be from 0 up to but not 1, got 1.0"),
        ({"every": 0}, "at least 1, got every=0"),
        ({"words": 0}, "words=0; check seldom"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        CurriculumConfig(**fields)


def test_a_stage_beyond_the_task_is_refused():
    with pytest.raises(ValueError, match=r"shorter than the task's longest word, 16, got \(4, 16\)"):
        begin(4, 16)
    with pytest.raises(ValueError, match="stage must be from 0 to 1, got 2"):
        begin(4).at(2, solved=False)
