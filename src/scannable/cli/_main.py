"""From words on the command line to a command, and from its outcome to an exit code."""

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from rich.markup import escape

from scannable.cli._terminal import Terminal, complain

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


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
        "show a scan as a page that one can step through, or a run from the inside, in the browser",
        "_view",
        (
            ("scannable view", "open it"),
            (
                "scannable view s5 --prompt '3 77 119'",
                "the tree that the packaged model makes of three permutations",
            ),
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
            ("scannable train text --text.data book.txt --text.tokenizer bytes", "on your own text"),
            (
                "torchrun --nproc-per-node 2 -m scannable train text --text.data ids/ --device cuda",
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 not understood, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in ("-h", "--help", "help"):
        _overview(Terminal())
        return DONE
    if given == ["--version"]:
        print(f"scannable {metadata.version('scannable')}")
        return DONE
    if not given or given[0].startswith("-"):
        given.insert(0, "intro")
    name = next((name for name in COMMANDS if given[: len(name.split())] == name.split()), None)
    if name is None:
        return _unknown(given)
    return _run(name, given[len(name.split()) :])


def _run(name: str, rest: list[str]) -> int:
    command = COMMANDS[name]
    try:
        module = importlib.import_module(f"scannable.cli.{command.file}")
        options = _parse(name, module, rest)
        if isinstance(options, int):
            return options
        # Of several processes under torchrun the first one speaks.
        terminal = Terminal(json=options.json, silent=os.environ.get("RANK", "0") != "0")
        return DONE if module.run(options, terminal) else FAILED
    except KeyboardInterrupt:
        again = "; the same command goes on from here" if command.resumes else ""
        complain(f"Stopped{again}.")
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; without this, Python complains once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        complain(_told(error))
        return FAILED
    except (ValueError, TypeError, FloatingPointError, ImportError) as error:
        complain(str(error))
        return FAILED


def _parse(name: str, module: Any, rest: list[str]) -> Any:
    """Read the options of a command; an exit code instead if that is all there is to do."""
    if not rest and name == "intro":
        return module.Options()  # the shortest way to the first picture
    import tyro

    parse: Callable[..., Any] = getattr(module, "parse", tyro.cli)
    try:
        return parse(module.Options, prog=f"scannable {name}", args=rest, config=(tyro.conf.DisallowNone,))
    except SystemExit as stop:
        if stop.code in (None, 0):
            _examples(name)
            return DONE
        return MISUSED
    except (ValueError, TypeError) as error:
        complain(str(error))
        return MISUSED


def _told(error: OSError) -> str:
    """Name the path and a cure, where the system gave no more than an error number."""
    if error.errno is None:
        return str(error)
    if error.filename is None:
        return f"The system refused, saying {error.strerror}; make room or mend that, and give the command again."
    return (
        f"{error.filename} must be a place that can be read and written, got {error.strerror}; choose another, or "
        f"mend this one."
    )


def _examples(name: str) -> None:
    terminal = Terminal()
    width = max(len(line) for line, _ in COMMANDS[name].examples)
    terminal.say("[bold]Examples[/]")
    for line, what in COMMANDS[name].examples:
        terminal.say(f"  {escape(line):<{width}}  [dim]{escape(what)}[/]")


def _overview(terminal: Terminal) -> None:
    terminal.say(
        "Sequence models that are trained in parallel over a tree and streamed in logarithmic memory.\n"
    )
    terminal.say("[bold]scannable[/] COMMAND [OPTIONS]\n")
    width = max(map(len, COMMANDS))
    for name, command in COMMANDS.items():
        terminal.say(f"  [bold]{name:<{width}}[/]  {escape(command.summary)}")
    terminal.say(
        "\n[bold]scannable COMMAND --help[/] lists the options of a command, with examples; "
        "[bold]--json[/] makes any of them\nspeak to a program. The exit code is 0 when what was asked was done, "
        "1 when it failed, 2 when it was not understood,\n130 after Ctrl-C."
    )


def _second(first: str, names: list[str]) -> None:
    """Say which words may follow the first one of a command."""
    terminal = Terminal()
    terminal.say(f"[bold]scannable {first}[/] needs a second word:\n")
    for name in names:
        terminal.say(f"  [bold]scannable {name}[/]  {escape(COMMANDS[name].summary)}")
    help_lines = " or ".join(f"[bold]scannable {name} --help[/]" for name in names)
    terminal.say(f"\nIts options, with examples: {help_lines}")


def _unknown(given: list[str]) -> int:
    inner = [name for name in COMMANDS if name.split()[0] == given[0]]
    if inner:
        rest = [name.split()[1] for name in inner]
        got = f"got {given[1]!r}" if len(given) > 1 and not given[1].startswith("-") else "got nothing"
        if len(given) > 1 and given[1] in ("-h", "--help"):
            _second(given[0], inner)
            return DONE
        complain(f"{given[0]} needs to know what: one of {rest}, {got}; type scannable {inner[0]} --help.")
        return MISUSED
    near = difflib.get_close_matches(given[0], [name.split()[0] for name in COMMANDS], n=1)
    hint = f"did you mean {near[0]}?" if near else "type scannable --help."
    complain(f"The command must be one of {list(COMMANDS)}, got {given[0]!r}; {hint}")
    return MISUSED
