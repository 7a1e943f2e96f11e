"""Every figure in the README is read from the JSON file that a command made."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def result(name):
    return json.loads((ROOT / "docs/results" / f"{name}.json").read_text(encoding="utf-8"))


def rows():
    """Write the rows of the README's table again."""
    demo, scan = result("demo"), result("scan")
    seeds = [result(f"s5-seed{seed}")["variants"][0] for seed in range(4)]
    kept = {(row["model"], row["form"], row["length"]): row["final_error"] for row in demo["evaluations"]}
    longest = demo["lengths"]["compared"][-1]
    psm, decoder = (kept[model, "streaming", longest] for model in ("psm", "decoder"))
    near = kept["decoder", "parallel", demo["lengths"]["trained"]]
    assert psm == kept["psm", "parallel", longest]
    stream = {model: demo["streams"][model][-1]["bytes"] for model in ("psm", "decoder")}
    wrong = sum(round(row["stream"]["error"] * row["stream"]["length"]) for row in seeds)
    main = next(row for row in scan["against"] if row["shape"] == [4, 512, 256])
    least = min(row["speedup"] for row in scan["against"])
    memory = scan["memory"][0]
    affine = result("affine")
    scores = result("text-cpu")["scores"]
    text = next(x for x in scores if (x["reading"], x["form"]) == ("blocked", "parallel"))
    apart = max(result("text-cpu")["difference_of_ln_perplexity"].values())
    speeds = [result(f"language-speed-{length}")["rows"] for length in (512, 65_536)]
    short, long = ({row["model"]: row["ratio"] for row in speed} for speed in speeds)
    paper = next(row for row in result("language")["rows"] if row["row"] == "paper-64")
    ways = {(x["form"], x["precision"]): x["loss"] for x in paper["scores"] if x["reading"] == "blocked"}
    forms = abs(ways["streaming", "float32"] - ways["parallel", "float32"])
    stream = stream | {"paper": paper["stream"]}
    decode = {(x["model"], x["batch"], x["context"]): x["mean"] for x in result("decode")["rows"]}
    ends = [(1, 40_960), (32, 40_960), (1, 1_024)]
    one, many, early = (decode["full attention", *end] / decode["psm concatenated", *end] for end in ends)
    loops, scans = ([row[f"{other}_speedup"] for row in affine["recurrence"]] for other in ("loop", "scan"))
    shape, mamba = f"(B, T, H, K, V) = {tuple(affine['config']['shape'])}", affine["mamba"]
    assert all(row["scan_length"] == row["shape"][1] for row in affine["recurrence"])
    return [
        f"| final-position error at {longest:,} tokens, trained on up to {demo['lengths']['trained']} | "
        f"{psm:.1%} (decoder of the same size: {decoder:.1%}, and {near:.1%} at {demo['lengths']['trained']}: it did "
        f"not learn the task) | `make demo` | `demo.json` |",
        f"| what a stream keeps after {longest:,} tokens | "
        f"{stream['psm']:,} bytes (decoder: {stream['decoder']:,}) | `make demo` | `demo.json` |",
        f"| errors in streams of {seeds[0]['stream']['length']:,} tokens, trained on up to 18, {len(seeds)} seeds | "
        f"{wrong} | `scannable reproduce s5` | `s5-seed*.json` |",
        f"| a first language model, as `scannable train text` makes it on a CPU, on held-out articles | "
        f"{text['bits_per_byte']:.2f} bits a byte, streaming the same to {apart:.0e} nats | "
        f"`scannable evaluate text RUN --reading both --form both` | `text-cpu.json` |",
        f"| training the paper's model at GPT-2's base size, C = 256, beside a compiled decoder with flash attention | "
        f"{short['paper-256']:.2f} of its speed at T = 512, {long['paper-256']:.2f} times its speed at 65,536 "
        f"(`cross`: {short['cross-256']:.2f} and {long['cross-256']:.2f}) | `scannable bench language` | "
        f"`language-speed-*.json` |",
        f"| the same at C = 64 on Wikipedia, its cross-entropy on WikiText-103's validation split streamed and at once "
        f"| equal to {forms:.0e} nats a token | `scannable reproduce language` | `language.json` |",
        f"| a token of a stream of 40,000 with that model on an H200 | {1e3 * stream['paper']['median']:.2f} ms, "
        f"{stream['paper']['state_bytes'] / 1e6:.1f} MB kept, the last thousand "
        f"{stream['paper']['ratio']:.3f} times the first | `scannable reproduce language` | `language.json` |",
        f"| a token at C = 256 beside full attention at its best, after 40,960 tokens | {one:.1f} times as fast "
        f"for one text, {many:.1f} times for 32; after 1,024 {early:.2f} times | "
        f"`scannable bench decode` | `decode.json` |",
        f"| scan with a free `combine`, beside a two-layer attention aggregator's bare calls | "
        f"{scan['overhead']['overhead']:.1%} | `scannable bench scan` | `scan.json` |",
        f"| scan against torch's generic `associative_scan`, forward and backward, (4, 512, 256) | "
        f"{main['speedup']:.2f} times faster, at least {least:.2f} from N = 8 to 65,536 | "
        f"`scannable bench scan` | `scan.json` |",
        f"| peak memory against the same at N = 8,192, recomputed in blocks | {memory['blocks_ratio']:.2f} of its "
        f"peak, {1 / memory['blocks_speedup']:.0f} times its time | `scannable bench scan` | `scan.json` |",
        f"| affine recurrence in chunks against the loop over time, forward and backward, {shape}, all gates | "
        f"{min(loops):.0f} to {max(loops):.0f} times faster | `scannable bench affine` | `affine.json` |",
        f"| the same against torch's generic `associative_scan` of the lifted pairs | "
        f"{min(scans):.0f} to {max(scans):.0f} times faster | `scannable bench affine` | `affine.json` |",
        f"| Mamba's scan against mambapy's, (B, T, D, S) = {tuple(mamba['shape'])} | "
        f"{mamba['speedup']:.1f} times faster, {mamba['memory_ratio']:.0%} of its peak memory | "
        f"`scannable bench affine` | `affine.json` |",
    ]


def test_the_readme_shows_what_was_measured():
    for row in rows():
        assert row in README


def test_the_results_meet_what_the_readme_claims_in_words():
    demo = result("demo")
    assert demo["passed"]
    assert demo["one_function"]
