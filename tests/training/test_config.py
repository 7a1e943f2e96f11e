import json
from dataclasses import replace

import pytest

from scannable.models import AffineLanguageModelConfig, DecoderConfig, TransformerPSMConfig
from scannable.tasks import WordProblemConfig
from scannable.training import CurriculumConfig, OptimiserConfig, RunConfig
from scannable.training._record import differences, from_json, to_json
from training.runs import assert_choice_is_refused

CONFIGS = [
    RunConfig(),
    RunConfig(model=DecoderConfig(width=8, positions="rotary"), time_limit=60.0, tensorboard=True),
    RunConfig(
        task=WordProblemConfig(group="D5", inputs="generators", longest=12),
        model=TransformerPSMConfig(chunk=2, codebook="tied"),
        optimiser=OptimiserConfig(schedule="stable", betas=(0.8, 0.9)),
        curriculum=CurriculumConfig(stages=(), stop=True),
    ),
    RunConfig(
        model=AffineLanguageModelConfig(
            row="deltaproduct", width=16, options={"heads": 2, "gated": False}, implementation="tree"
        )
    ),
    RunConfig(model=AffineLanguageModelConfig(row="gla", options={"key_share": 1.0})),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_survives_json(config):
    written = json.loads(json.dumps(to_json(config)))
    assert from_json(RunConfig, written) == config
    assert written["model"]["kind"] in ("affine", "decoder", "transformer-psm")
    assert not differences(written, to_json(config))


def test_a_missing_field_takes_its_default_but_a_model_must_have_its_name():
    assert from_json(RunConfig, {"steps": 700}) == RunConfig(steps=700)
    with pytest.raises(
        ValueError, match=r"config\.model\.kind must be one of \['affine', 'decoder', 'transformer-psm'\]"
    ):
        from_json(RunConfig, {"model": {"width": 8}})


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("steps", "many", r"config\.steps must be of type int, got 'many'"),
        ("steps", True, r"config\.steps must be of type int, got True"),
        ("steps", 1.5, r"config\.steps must be of type int"),
        ("time_limit", "1", r"config\.time_limit must be of type float"),
        ("stepz", 1, r"only fields of RunConfig, .*got also \['stepz'\]; remove"),
        ("precision", "float8", r"config\.precision must be one of \('float32', 'bfloat16'\), got 'float8'"),
        ("task", [], r"config\.task must be an object with the fields of WordProblemConfig"),
        ("task.group", 5, r"config\.task\.group must be of type str, got 5"),
        ("task.kind", "x", r"got also \['kind'\]"),
        ("model.kind", "lstm", r"config\.model\.kind must be one of .*got 'lstm'"),
        ("model.kind", [], r"config\.model\.kind must be one of"),
        ("model", 3, r"config\.model\.kind must be one of"),
        ("model.width", None, r"config\.model\.width must be of type int, got None"),
        ("optimiser.betas", [0.9], r"config\.optimiser\.betas must be a list"),
        ("optimiser.betas", [0.9, "b"], r"config\.optimiser\.betas\[1\] must be of type float, got 'b'"),
        ("curriculum.stages", 4, r"config\.curriculum\.stages must be a list"),
        ("curriculum.stages", [8, 4], r"stages must be lengths >= 1 that grow, got \(8, 4\)"),
    ],
)
def test_a_config_from_outside_is_checked(path, value, words):
    written = to_json(RunConfig())
    *parents, name = path.split(".")
    place = written
    for parent in parents:
        place = place[parent]
    place[name] = value
    with pytest.raises(ValueError, match=words):
        from_json(RunConfig, written)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ([], ValueError, r"config\.model\.options must be an object, got \[\]"),
        (
            {"heads": None},
            ValueError,
            r"config\.model\.options\.heads must be one of the types int, float, bool, str, got None",
        ),
        ({"heads": [2]}, ValueError, r"config\.model\.options\.heads must be one of the types"),
        ({"heads": True}, TypeError, "heads of 'gla' must be of type int, got True"),
        ({"tails": 2}, ValueError, r"options of 'gla' must be among .*got \['tails'\]"),
    ],
)
def test_options_of_a_row_from_outside_are_checked(options, error, words):
    written = to_json(RunConfig(model=AffineLanguageModelConfig()))
    written["model"]["options"] = options
    with pytest.raises(error, match=words):
        from_json(RunConfig, written)


def test_changed_options_of_a_row_are_named():
    old, new = (RunConfig(model=AffineLanguageModelConfig(options={"heads": n})) for n in (2, 4))
    assert differences(to_json(old), to_json(new)) == ["model.options.heads: 2, now 4"]


@pytest.mark.parametrize("field", ["tokens", "steps", "log_every"])
def test_numbers_below_one_are_refused(field):
    with pytest.raises(ValueError, match=rf"must be at least 1 .*{field}=0.*; raise them"):
        replace(RunConfig(optimiser=OptimiserConfig(warmup=0)), **{field: 0})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": 10}, r"warm-up must end within the run, got optimiser\.warmup=100 and steps=10; lower"),
        ({"seed": -1}, "seed at least 0"),
        ({"time_limit": 0.0}, "time_limit above zero, got .*time_limit=0.0; leave the limit out"),
        ({"save_every": -1.0}, "save_every must be at least zero"),
        ({"device": "gpu"}, "device must be a name that torch knows, such as cpu or cuda, got 'gpu'"),
        ({"task": WordProblemConfig(longest=8)}, r"shorter than the task's longest word, 8, got \(4, 8\)"),
    ],
)
def test_runs_that_make_no_sense_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        RunConfig(**fields)


def test_differences_are_named():
    old, new = RunConfig(), RunConfig(steps=7000, model=TransformerPSMConfig(width=64))
    assert differences(to_json(old), to_json(new)) == ["model.width: 128, now 64", "steps: 5000, now 7000"]
    other = differences(to_json(old), to_json(RunConfig(model=DecoderConfig())))
    assert "model.kind: 'transformer-psm', now 'decoder'" in other


@pytest.mark.parametrize(
    ("kind", "field", "choices"),
    [
        (RunConfig, "precision", ("float32", "bfloat16")),
        (RunConfig, "draw", ("cpu", "device")),
        (OptimiserConfig, "schedule", ("cosine", "linear", "stable")),
        (WordProblemConfig, "inputs", ("all", "generators")),
    ],
)
def test_names_outside_their_choices_are_refused_with_the_choices(kind, field, choices):
    words = f"{field} must be one of {choices}, got 'other'; choose one of these."
    assert_choice_is_refused(lambda: kind(**{field: "other"}), words)
