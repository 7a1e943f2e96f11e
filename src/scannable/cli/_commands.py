"""The commands: what each does, where it is written, and examples of how it is called."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command: what it does in one line, and which file of this folder has its ``Options`` and its ``run``."""

    summary: str
    file: str
    examples: tuple[tuple[str, str], ...]
    resumes: bool = False


COMMANDS = {
    "intro": Command(
        "show the idea in half a minute; the same as no command at all",
        "_intro",
        (("scannable", "show it"), ("scannable intro --text scannable", "bracket another word")),
    ),
    "view": Command(
        "show a scan as a page that one can step through, a run from the inside, or a report, in the browser",
        "_view",
        (
            ("scannable view", "open it"),
            (
                "scannable view s5 --prompt '3 77 119'",
                "the tree that the packaged model makes of three permutations",
            ),
            ("scannable view demo/results.json", "the report of a demo; reproductions and traces likewise"),
            ("scannable view --out scan.html", "write it to a file, to keep or to send"),
        ),
    ),
    "demo": Command(
        "train a small model, check it, compare it with a GPT-2-style one, write an HTML report",
        "_demo",
        (
            ("scannable demo", "write demo/report.html, in about eight minutes"),
            ("scannable demo --folder elsewhere", "write elsewhere/report.html"),
        ),
        resumes=True,
    ),
    "train words": Command(
        "train a model to multiply permutations; an interrupted run is taken up again",
        "_train",
        (
            (
                "scannable train words --task.group S3 --folder runs/s3",
                "train on the six permutations of three points",
            ),
            (
                "scannable train words --model decoder --model.positions rotary",
                "train the GPT-2-style baseline",
            ),
            (
                "scannable train words --model affine --model.row deltaproduct --model.options.factors 2",
                "train a row of the affine family",
            ),
            (
                "scannable train words --time-limit 60 --json > log.jsonl",
                "one JSON object a line, for a program",
            ),
        ),
        resumes=True,
    ),
    "train text": Command(
        "train a language model on text; an interrupted run is taken up again",
        "_train_text",
        (
            ("scannable train text", "a small model, on the Wikipedia articles in the package"),
            ("scannable train text --data book.txt --tokenizer bytes", "on your own text"),
            (
                "torchrun --nproc-per-node 2 -m scannable train text --data ids/ --tokenizer gpt2 "
                "--device cuda",
                "on two GPUs, on shards of token ids",
            ),
        ),
        resumes=True,
    ),
    "generate": Command(
        "write on from a prompt with a language model, word by word, as long as you like",
        "_generate",
        (
            ('scannable generate runs/text-transformer-psm-0 "The"', "two hundred tokens"),
            (
                'scannable generate runs/text-transformer-psm-0 "" --tokens 0 --temperature 0.8',
                "a new article, until Ctrl-C",
            ),
            ("scannable generate runs/text-transformer-psm-0 - --top-p 0.9", "from the standard input"),
        ),
    ),
    "evaluate text": Command(
        "measure a language model on text: perplexity, bits a byte, loss by place, and what was merged",
        "_evaluate_text",
        (
            ("scannable evaluate text runs/text-transformer-psm-0", "on what its data held out"),
            (
                "scannable evaluate text runs/text-transformer-psm-0 --data book.txt --reading both --form both",
                "on another text, cut and carried, in both forms",
            ),
        ),
    ),
    "evaluate": Command(
        "measure a trained model at any length, in its parallel or its streaming form",
        "_evaluate",
        (
            ("scannable evaluate runs/s3", "at 1x, 10x and 100x the training length"),
            (
                "scannable evaluate s5 --lengths 18 1800 --form streaming",
                "a model from the package, streamed",
            ),
        ),
    ),
    "family": Command(
        "show the affine rows, from linear attention to Mamba, or what each costs against length",
        "_family",
        (
            ("scannable family", "their recurrences, how they are read, and where they come from"),
            ("scannable family --measure", "work, depth and memory against length, in about a minute"),
        ),
    ),
    "verify": Command(
        "check the laws on a trained model, an affine row, or a class of your own",
        "_verify",
        (
            ("scannable verify runs/s3", "a run: duality, causality, counts, resuming, ..."),
            (
                "scannable verify --row mamba2",
                "a row of the affine family, and that its pairs are associative",
            ),
            (
                "scannable verify my.py:MyAggregator --shape 8,16",
                "your own class, on random states (R, 8, 16)",
            ),
        ),
    ),
    "reproduce s5": Command(
        "train the packaged S5 model again, with and without each of its parts; wants a GPU",
        "_reproduce",
        (("scannable reproduce s5 --seed 1 --json > s5.json", "another seed, as JSON"),),
        resumes=True,
    ),
    "reproduce language": Command(
        "train a row of the table of language models on text and measure it; wants a GPU",
        "_reproduce_language",
        (
            (
                "scannable reproduce language --row cross-64 --data ids/ --test wiki.valid.raw --json > row.json",
                "one row of docs/language.md",
            ),
        ),
        resumes=True,
    ),
    "bench scan": Command(
        "time our scan beside torch's own, each verified before it is timed",
        "_bench",
        (("scannable bench scan", "print medians and ratios"),),
    ),
    "bench language": Command(
        "time the training of language models beside a decoder of the same blocks; wants a GPU",
        "_bench_language",
        (("scannable bench language", "print tokens a second and ratios"),),
    ),
    "bench decode": Command(
        "time decoding in place beside a full-attention decoder at its best, verified before it is timed",
        "_bench_decode",
        (("scannable bench decode", "print latencies and what streams keep"),),
    ),
    "bench affine": Command(
        "time the affine family beside the loop, torch's own scan and mambapy, each verified before it is timed",
        "_bench_affine",
        (("scannable bench affine", "print medians and ratios"),),
    ),
}
