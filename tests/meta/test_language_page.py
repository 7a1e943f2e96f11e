"""Every table of docs/language.md is written again from the JSON files that commands made."""

import json
import math
import statistics
from pathlib import Path

import pytest

from scannable.experiments import LANGUAGE_PEERS, language_table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/language.md"


def result(name):
    return json.loads((ROOT / "docs/results" / f"{name}.json").read_text(encoding="utf-8"))


def table(columns, rows):
    lines = [columns, ["---"] + ["--:"] * (len(columns) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def trials():
    found = result("language")["trials"]
    rates = found[0]["config"]["rates"]
    rows = [[f"`{x['row']}`", *(f"{y['loss']:.4f}" for y in x["trials"]), f"{x['rate']:g}"] for x in found]
    return table(["model", *(f"{rate:g}" for rate in rates), "chosen"], rows)


def speed():
    rows = [
        [
            f"`{x['model']}`",
            f"{x['length']:,}",
            f"{x['tokens_per_second']:,.0f}",
            f"{x['ratio']:.2f}",
            f"{x['peak_bytes'] / 1e9:.0f} GB",
            f"{x['parameters']:,}",
        ]
        for name in sorted((ROOT / "docs/results").glob("language-speed-*.json"))
        for x in result(name.stem)["rows"]
    ]
    return table(["model", "T", "tokens/s", "of the decoder's", "peak memory", "parameters"], rows)


def number(value, form):
    return "-" if value is None else format(value, form)


def quality(length):
    rows = []
    for x in language_table(result("language"), length):
        low, high = x["interval"]
        rows.append(
            [
                f"`{x['model']}`",
                ", ".join(f"{y:.2f}" for y in x["perplexities"]),
                f"{low:.2f} to {high:.2f}",
                number(x["ratio"], ".3f"),
                number(x["authors_subset_perplexity"], ".2f"),
                number(x["bits_per_byte"], ".4f"),
                number(x["word_perplexity"], ".2f"),
                number(x["merged_share"], ".1%"),
            ]
        )
    columns = ["model", "perplexity of each seed", "95 %", "of the decoder's", "authors' subset"]
    return table([*columns, "bits a byte", "of a word", "read a merged state"], rows)


def cost(length):
    rows = []
    for x in language_table(result("language"), length):
        stream = x["stream"] or {}
        latencies = [stream.get(name) and 1e3 * stream[name] for name in ("median", "p99", "p999")]
        rows.append(
            [
                f"`{x['model']}`",
                f"{x['parameters']:,}",
                f"{x['processes']}",
                f"{x['tokens_per_second']:,.0f}",
                f"{x['seconds'] / 60:.1f} min",
                f"{x['peak_bytes'] / 1e9:.0f} GB",
                number(stream["state_bytes"] / 1e6 if stream else None, ".1f"),
                *(number(value or None, ".3f") for value in latencies),
            ]
        )
    columns = ["model", "parameters", "processes", "tokens/s", "trained for", "peak memory", "state, MB"]
    return table([*columns, "median, ms", "p99", "p99.9"], rows)


def runs(length):
    """What the first seed of each model scored in float32, by its reading, and its training."""
    found = {}
    for x in reversed(result("language")["rows"]):
        exact = {
            y["reading"]: y for y in x["scores"] if (y["form"], y["precision"]) == ("parallel", "float32")
        }
        if exact["blocked"]["length"] == length:
            found[x["row"]] = exact | {"training": x["training"]}
    return dict(reversed(found.items()))


def texts(length):
    """Nats a token in windows on three texts, how many more than the decoder's, and the ratio of perplexities."""
    found = {}
    for model, x in runs(length).items():
        losses, steps = x["training"]["losses"], x["training"]["steps"]
        late = [loss for step, loss in losses if step > 0.95 * steps]
        found[model] = [statistics.mean(late), x["training"]["valid_losses"][-1][1], x["blocked"]["loss"]]
    base = found.get(LANGUAGE_PEERS[length])
    rows = [
        [
            f"`{model}`",
            *(f"{y:.3f} ({y - z:+.3f}, {math.exp(y - z):.3f})" for y, z in zip(losses, base, strict=True)),
        ]
        for model, losses in found.items()
    ]
    return table(["model", "trained on, last twentieth", "held-out Wikipedia", "WikiText-103"], rows)


def readings(length):
    """Windows with nothing carried over, beside articles that are read from end to end."""
    rows = []
    for model, scores in runs(length).items():
        figures = []
        for x in (scores["blocked"], scores.get("carried", {})):
            figures += [number(x.get("perplexity"), ".2f"), number(x.get("merges"), ",")]
            figures += [number(x.get("merged_share"), ".1%")]
        rows.append([f"`{model}`", *figures])
    columns = [f"{reading}: {figure}" for reading in ("in windows", "through articles") for figure in FIGURES]
    return table(["model", *columns], rows)


FIGURES = ("perplexity", "merges", "read one")


def places(length, reading):
    """Nats a token, by the place of what is predicted in the window or in the article."""
    found = {model: x[reading]["positions"] for model, x in runs(length).items() if reading in x}
    bins = [(x["first"], x["last"]) for x in max(found.values(), key=len, default=[])]
    rows = [[f"`{model}`", *(f"{y['loss']:.3f}" for y in found[model])] for model in found]
    return table(["model", *(f"{first:,} to {last:,}" for first, last in bins)], rows)


def forms():
    """By how much the logarithm of the perplexity differs between forms and precisions."""
    rows = []
    for x in result("language")["rows"]:
        loss = losses(x)
        exact = loss["parallel", "float32"]
        distances = (loss[way] - exact for way in loss if way != ("parallel", "float32"))
        rows.append([f"`{x['row']}`", f"{x['seed']}", f"{exact:.7f}", *(f"{y:+.1e}" for y in distances)])
    columns = ["model", "seed", "parallel, float32", "streaming, float32", "parallel, bfloat16"]
    return table([*columns, "streaming, bfloat16"], rows)


def decoding():
    found, rows = result("decode"), []
    full = {(x["batch"], x["context"]): x["mean"] for x in found["rows"] if x["model"] == "full attention"}
    contexts = found["config"]["contexts"]
    for x in found["rows"]:
        if x["context"] in (None, contexts[0], contexts[-1]):
            peers = [x["context"]] if x["context"] else [contexts[0], contexts[-1]]
            ratios = [f"{full[x['batch'], context] / x['mean']:.2f}" for context in peers]
            times = [f"{1e3 * x[name]:.3f}" for name in ("median", "mean", "p999")]
            context = f"{x['context']:,}" if x["context"] else "any"
            rows.append([x["model"], f"{x['batch']}", context, *times, " and ".join(ratios)])
    columns = ["model", "texts", "tokens before", "median, ms", "mean", "p99.9"]
    return table([*columns, "times as fast as full attention"], rows)


def losses(record):
    """Of the blocked reading, by form and precision."""
    return {(x["form"], x["precision"]): x["loss"] for x in record["scores"] if x["reading"] == "blocked"}


def tables():
    """All tables, by the names that mark their places."""
    made = {"trials": trials(), "speed": speed(), "forms": forms(), "decoding": decoding()}
    for length in LANGUAGE_PEERS:
        made |= {f"quality {length}": quality(length), f"cost {length}": cost(length)}
        made |= {f"readings {length}": readings(length)}
        made[f"texts {length}"] = texts(length)
        made |= {f"{reading} {length}": places(length, reading) for reading in ("blocked", "carried")}
    return made


def fill(text):
    """Write the tables where their names stand."""
    for name, made in tables().items():
        start, mark, rest = text.partition(f"<!-- table: {name} -->\n")
        if mark:
            old, gap, after = rest.lstrip("\n").partition("\n\n")
            after = gap + after if old.startswith("|") else "\n\n" + rest.lstrip("\n")
            text = start + mark + made + (after.rstrip("\n") + "\n")
    return text


def test_the_page_shows_what_was_measured():
    page = PAGE.read_text(encoding="utf-8")
    assert page == fill(page)


@pytest.mark.parametrize("figure", ["0.61", "330,181"])
def test_another_figure_is_noticed(figure):
    page = PAGE.read_text(encoding="utf-8")
    assert figure in page
    assert fill(page.replace(figure, "9")) == page


def test_the_speeds_meet_what_was_asked_for():
    ratio = {
        (x["model"], x["length"]): x["ratio"]
        for length in (512, 65_536)
        for x in result(f"language-speed-{length}")["rows"]
    }
    assert ratio["paper-64", 512] >= 0.58
    assert ratio["paper-256", 512] >= 0.70
    assert min(ratio["cross-64", 512], ratio["cross-256", 512]) >= 0.8
    assert ratio["paper-256", 65_536] >= 3.0
    assert ratio["cross-256", 65_536] >= 4.0


def test_decoding_meets_what_was_asked_for():
    found = result("decode")
    mean = {(x["model"], x["batch"], x["context"]): x["mean"] for x in found["rows"]}
    long, short = found["config"]["contexts"][-1], found["config"]["contexts"][0]
    assert (
        max(x["attention_share"] for x in found["rows"] if x["context"] == long and "attention_share" in x)
        > 0.6
    )
    for psm in ("psm concatenated", "psm cross"):
        assert mean["full attention", 1, long] >= 2 * mean[psm, 1, long]
        assert mean["full attention", 1, short] >= mean[psm, 1, short]
        assert mean["full attention", 32, long] >= 20 * mean[psm, 32, long]
    assert all(0.95 <= x["ratio"] <= 1.05 for x in found["streams"])


def test_both_forms_of_every_trained_model_are_one_function():
    for record in result("language")["rows"]:
        loss = losses(record)
        exact = loss["parallel", "float32"]
        assert abs(loss["streaming", "float32"] - exact) <= 1e-6
        assert max(abs(loss[form, "bfloat16"] - exact) for form in ("parallel", "streaming")) <= 2e-4
