import json
from dataclasses import replace

import pytest

from scannable.models import AffineLanguageModelConfig, DecoderConfig, TransformerPSMConfig
from scannable.tasks import WordProblemConfig
from scannable.training import CurriculumConfig, OptimiserConfig, TextConfig, TextRunConfig, WordRunConfig
from scannable.training._folder import parse_config
from scannable.training._record import differences, from_json, to_json
from training.runs import assert_choice_is_refused

CONFIGS = [
    WordRunConfig(),
    WordRunConfig(model=DecoderConfig(width=8, positions="rotary"), time_limit=60.0, tensorboard=True),
    WordRunConfig(
        task=WordProblemConfig(group="D5", inputs="generators", longest=12),
        model=TransformerPSMConfig(chunk=2, codebook="tied"),
        optimiser=OptimiserConfig(schedule="stable", betas=(0.8, 0.9)),
        curriculum=CurriculumConfig(stages=(), stop=True),
    ),
    WordRunConfig(
        model=AffineLanguageModelConfig(
            row="deltaproduct", width=16, options={"heads": 2, "gated": False}, implementation="tree"
        )
    ),
    WordRunConfig(model=AffineLanguageModelConfig(row="gla", options={"key_share": 1.0})),
    TextRunConfig(),
    TextRunConfig(
        model=DecoderConfig(window=16, initialisation="gpt2"),
        text=TextConfig(data="book.txt", tokenizer="bytes", length=8),
        check_every=3,
    ),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_survives_json(config):
    written = json.loads(json.dumps(to_json(config)))
    assert from_json(type(config), written) == config
    assert written["model"]["kind"] in ("affine", "decoder", "transformer-psm")
    assert not differences(written, to_json(config))


def test_a_missing_field_takes_its_default_but_a_model_must_have_its_name():
    assert from_json(WordRunConfig, {"kind": "words", "steps": 700}) == WordRunConfig(steps=700)
    with pytest.raises(
        ValueError, match=r"config\.model\.kind must be one of \['affine', 'decoder', 'transformer-psm'\]"
    ):
        from_json(WordRunConfig, {"kind": "words", "model": {"width": 8}})


def test_a_run_is_read_by_its_kind_and_one_of_before_there_were_kinds_is_on_words():
    for config in CONFIGS:
        assert parse_config(json.loads(json.dumps(to_json(config)))) == config
    assert parse_config({"steps": 700}) == WordRunConfig(steps=700)
    assert parse_config({"kind": "text", "steps": 700}) == TextRunConfig(steps=700)
    for kind, words in (("images", "got 'images'"), (None, "got None"), ([], r"got \[\]")):
        with pytest.raises(ValueError, match=rf"config\.kind must be one of \['text', 'words'\], {words}"):
            parse_config({"kind": kind})
    with pytest.raises(ValueError, match=r"config\.kind must be 'words', got 'text'"):
        from_json(WordRunConfig, to_json(TextRunConfig()))
    with pytest.raises(ValueError, match=r"config must hold only fields of TextRunConfig, .*\['task'\]"):
        parse_config({"kind": "text", "task": {}})


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("steps", "many", r"config\.steps must be of type int, got 'many'"),
        ("steps", True, r"config\.steps must be of type int, got True"),
        ("steps", 1.5, r"config\.steps must be of type int"),
        ("time_limit", "1", r"config\.time_limit must be of type float"),
        ("stepz", 1, r"only fields of WordRunConfig, .*got also \['stepz'\]; remove"),
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
    written = to_json(WordRunConfig())
    *parents, name = path.split(".")
    place = written
    for parent in parents:
        place = place[parent]
    place[name] = value
    with pytest.raises(ValueError, match=words):
        from_json(WordRunConfig, written)


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
    written = to_json(WordRunConfig(model=AffineLanguageModelConfig()))
    written["model"]["options"] = options
    with pytest.raises(error, match=words):
        from_json(WordRunConfig, written)


def test_changed_options_of_a_row_are_named():
    old, new = (WordRunConfig(model=AffineLanguageModelConfig(options={"heads": n})) for n in (2, 4))
    assert differences(to_json(old), to_json(new)) == ["model.options.heads: 2, now 4"]


@pytest.mark.parametrize("field", ["tokens", "steps", "log_every"])
def test_numbers_below_one_are_refused(field):
    with pytest.raises(ValueError, match=rf"must be at least 1.*{field}=0.*; raise them"):
        replace(WordRunConfig(optimiser=OptimiserConfig(warmup=0)), **{field: 0})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": 10}, r"warm-up must end within the run, got optimiser\.warmup=100 and steps=10; lower"),
        ({"seed": -1}, "seed must be from 0"),
        ({"seed": 2**64}, "got 18446744073709551616"),
        ({"time_limit": 0.0}, "time_limit finite and above zero, got .*time_limit=0.0; leave the limit out"),
        ({"time_limit": float("inf")}, "time_limit finite and above zero, got .*time_limit=inf"),
        ({"save_every": -1.0}, "save_every must be finite and at least zero"),
        ({"save_every": float("nan")}, "save_every must be finite and at least zero"),
        ({"device": "gpu"}, "device must be a name that torch knows, such as cpu or cuda, got 'gpu'"),
        ({"task": WordProblemConfig(longest=8)}, r"shorter than the task's longest word, 8, got \(4, 8\)"),
    ],
)
def test_runs_that_make_no_sense_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        WordRunConfig(**fields)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TextRunConfig(check_every=0), "check_every must be at least 1 .*check_every=0"),
        (lambda: TextRunConfig(check_tokens=1), "check_tokens at least 2, .*check_tokens=1; raise them"),
        (lambda: TextConfig(length=0), "length must be at least 1, got 0; raise it"),
    ],
)
def test_text_runs_that_make_no_sense_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_differences_are_named():
    old, new = WordRunConfig(), WordRunConfig(steps=7000, model=TransformerPSMConfig(width=64))
    assert differences(to_json(old), to_json(new)) == ["model.width: 128, now 64", "steps: 5000, now 7000"]
    other = differences(to_json(old), to_json(WordRunConfig(model=DecoderConfig())))
    assert "model.kind: 'transformer-psm', now 'decoder'" in other


@pytest.mark.parametrize(
    ("kind", "field", "choices"),
    [
        (WordRunConfig, "precision", ("float32", "bfloat16")),
        (WordRunConfig, "draw", ("cpu", "device")),
        (TextConfig, "tokenizer", ("gpt2", "gpt2-4096", "bytes")),
        (OptimiserConfig, "schedule", ("cosine", "linear", "stable")),
        (WordProblemConfig, "inputs", ("all", "generators")),
    ],
)
def test_names_outside_their_choices_are_refused_with_the_choices(kind, field, choices):
    words = f"{field} must be one of {list(choices)}, got 'other'; choose one of these."
    assert_choice_is_refused(lambda: kind(**{field: "other"}), words)
