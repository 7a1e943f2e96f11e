"""``scannable verify``: the laws, on a trained run, on a row of the affine family, or on a class of the user's own."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import tyro
from rich.markup import escape

from scannable import testing
from scannable.affine import lifted
from scannable.cli._stranger import raised
from scannable.cli._subject import check_shape, find, inputs_for
from scannable.cli._target import open_run
from scannable.cli._terminal import BAD, DIM, GOOD, Terminal
from scannable.models import AffineLanguageModel, AffineLanguageModelConfig
from scannable.models._affine import row_options
from scannable.scans import Aggregator
from scannable.scans._tree import along
from scannable.testing import Report

WIDTH, VOCABULARY = 32, 16
"""Of the model that stands for a row."""

MEANINGS = {
    "identity": "identity(like) must return a state of the form of `like`, and always the same one.",
    "associativity": "For information: a scan does not need it, since the brackets are part of the definition.",
    "duality": "The two forms must be one function. If they differ, combine keeps something between calls, mixes rows, "
    "draws random numbers, writes into its operands, or rounds by the size of the batch.",
    "causality": "An output may depend on earlier tokens only. If it does not, look at the attention mask.",
    "batch independence": "A row must not depend on the others. Look for means or norms over the first axis.",
    "counts": "Merges must be those of the formula, and none with an identity.",
    "resumption": "A saved or forked stream must go on bit by bit. If not, something is kept outside the stream.",
}
BRACKETS = "Pairs (E, f) compose maps, so in float64 nothing but rounding may depend on the brackets."


class Check(NamedTuple):
    """A law of some subject."""

    name: str
    law: Callable[[], Report]
    meaning: str
    judged: bool = True


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check the laws that make the parallel and the streaming form one function.

    What is checked is TARGET; or with --row a row of the affine family, one of those that `scannable family` lists: a
    small model of it with fresh weights, and the pairs of its recurrence, which must be associative too.

    TARGET is a run's folder, the name of a packaged model, or an import path: package.module:Name or file.py:Name, of a
    class that can be made without arguments, or of an object. An aggregator (combine, identity) is checked on random
    normal states of --shape, or on what its own method draw(batch, length, generator) returns: leaves (batch, length,
    ...). A model (start, prefill, step, and a call) likewise, on tokens (batch, length).
    """

    target: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="TARGET")] = None
    """A run's folder, a packaged model such as s5, or an import path."""
    row: str | None = None
    """A row of the affine family, such as mamba2, in the place of TARGET."""
    shape: tuple[str, ...] = ("16",)
    """One state without its batch, as in 8,16; several make a tuple of tensors. Only for aggregators without draw."""
    vocabulary: int | None = None
    """How many token ids there are. Only for models without draw."""
    batch: int = 3
    """Sequences to check on."""
    length: int = 100
    """Leaves or tokens in a sequence; the laws are checked at every length up to it."""
    seed: int = 0
    """Decides the states or tokens."""
    tables: bool = False
    """Print the measurements behind each verdict too; a law that is broken always shows them."""
    json: bool = False
    """Print one JSON object and nothing else."""

    def __post_init__(self) -> None:
        if (self.target is None) == (self.row is None):
            raise ValueError(
                f"Give either TARGET or --row, got TARGET={self.target} and row={self.row}; name what is to be checked."
            )
        if self.row is not None:
            row_options(self.row)
            if self.shape != Options.shape:
                raise ValueError(
                    f"--shape is that of an aggregator's states, got {self.shape} with row={self.row}; leave it out."
                )
        if self.batch < 2 or self.length < 3:
            raise ValueError(
                f"The laws need batch >= 2 and length >= 3, got batch={self.batch} and length={self.length}."
            )
        if self.vocabulary is not None and self.vocabulary < 1:
            raise ValueError(
                f"vocabulary must be at least 1, got {self.vocabulary}; say how many ids there are."
            )
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be from 0 up to but not 2**63, got {self.seed}; choose another.")
        check_shape(self.shape)


def run(options: Options, terminal: Terminal) -> bool:
    """Check every law, print each report, and return whether all that are judged hold."""
    records, broken = [], []
    torch.set_num_threads(1)  # Calls are many and small; more threads would only wait for each other.
    for check, report in _reports(options, terminal):
        passed = not check.judged or (isinstance(report, Report) and report.passed)
        broken += [] if passed else [check.name]
        if isinstance(report, Report):
            records.append(report.to_dict() | {"judged": check.judged, "meaning": check.meaning})
            _print(report, check.judged, check.meaning, options, terminal)
        else:
            error = {"law": check.name, "judged": check.judged, "passed": False, "meaning": check.meaning}
            records.append(error | {"error": report})
            terminal.say(
                f"[bold]{check.name}[/]: [{BAD}]could not be checked[/]: {escape(report)}\n[{DIM}]{check.meaning}[/]\n"
            )
    subject = {"row": options.row} if options.row else {"target": options.target}
    terminal.record(subject | {"passed": not broken, "reports": records})
    if broken:
        terminal.say(f"[{BAD}]{len(broken)} of {len(records)} laws do not hold[/]: {', '.join(broken)}.")
    else:
        terminal.say(f"[{GOOD}]All {len(records)} laws were checked, and all that are judged hold.[/]")
    return not broken


def _reports(options: Options, terminal: Terminal) -> Iterator[tuple[Check, Report | str]]:
    """Check law by law; what cannot be checked gives the reason."""
    for check in _of_row(options) if options.row else _of_target(options, str(options.target)):
        try:
            if terminal.live:
                with terminal.console.status(f"checking {check.name}"):
                    report: Report | str = check.law()
            else:
                report = check.law()
        except Exception as error:  # noqa: BLE001 - whatever a stranger's code raises is told
            report = f"it raised {raised(error)}."
        yield check, report


def _of_target(options: Options, target: str) -> list[Check]:
    subject: Any
    if (":" in target and not Path(target).exists()) or (target.endswith(".py") and Path(target).is_file()):
        subject = find(target)
        inputs = inputs_for(
            subject,
            shape=options.shape,
            vocabulary=options.vocabulary,
            batch=options.batch,
            length=options.length,
            seed=options.seed,
        )
    else:
        subject, config = open_run(target)
        generator = torch.Generator().manual_seed(options.seed)
        inputs = torch.randint(config.vocabulary, (options.batch, options.length), generator=generator)
    algebra = _algebra(subject, inputs) if isinstance(subject, Aggregator) else []
    return algebra + _laws(subject, inputs, options.seed)


def _of_row(options: Options) -> list[Check]:
    """Check a small model of a row, and then the pairs that its first layer makes of the same tokens."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(options.seed)
        config = AffineLanguageModelConfig(row=str(options.row), width=WIDTH)
        model: Any = AffineLanguageModel(config, options.vocabulary or VOCABULARY).eval()
    generator = torch.Generator().manual_seed(options.seed)
    shape = options.batch, options.length
    tokens = torch.randint(options.vocabulary or VOCABULARY, shape, generator=generator)
    action, pairs = lifted(model.blocks[0].layer, model.embed(tokens).detach())
    of_pairs = [
        *_algebra(action, pairs, judged=True),
        _named("counts", partial(testing.check_counts, action, pairs)),
    ]
    # A stream of a row has one size, whatever it has read.
    laws = _laws(model, tokens, options.seed, memory=1e-9)
    return laws + [check._replace(name=f"{check.name} of pairs") for check in of_pairs]


def _named(law: str, check: Callable[[], Report]) -> Check:
    return Check(law, check, MEANINGS[law])


def _algebra(subject: Any, leaves: Any, *, judged: bool = False) -> list[Check]:
    """List the laws of an operator alone; associativity is judged only where it is promised."""
    like = along(leaves, 0)
    associative = partial(testing.check_associative, subject, leaves)
    return [
        _named("identity", partial(testing.check_identity, subject, like)),
        Check("associativity", associative, BRACKETS if judged else MEANINGS["associativity"], judged),
    ]


def _laws(subject: Any, inputs: Any, seed: int, **bounds: float) -> list[Check]:
    """List the laws of whatever has two forms."""
    laws: dict[str, Callable[[], Report]] = {
        "causality": partial(testing.check_causal, subject, inputs),
        "duality": partial(testing.check_duality, subject, inputs, seed=seed),
        "batch independence": partial(testing.check_batch_independent, subject, inputs),
        "counts": partial(testing.check_counts, subject, inputs, **bounds),
        "resumption": partial(testing.check_resume, subject, inputs),
    }
    return [
        _named(law, check)
        for law, check in laws.items()
        if law != "causality" or not isinstance(subject, Aggregator)
    ]


def _print(report: Report, judged: bool, meaning: str, options: Options, terminal: Terminal) -> None:
    if not judged:
        plain = tuple(replace(finding, bound="", passed=None) for finding in report.findings)
        report = replace(report, findings=plain)
    whole = options.tables or (judged and not report.passed)
    first, *rest = str(report if whole else replace(report, table=())).splitlines()
    verdict = f"[{GOOD}]passed[/]" if report.passed else f"[{BAD}]FAILED[/]"
    verdict = verdict if judged else f"[{DIM}]measured[/]"
    terminal.say(f"[bold]{escape(first.rpartition(':')[0])}[/]: {verdict}")
    for line in rest:
        terminal.say(f"[{BAD}]{escape(line)}[/]" if judged and line.endswith("FAILED") else escape(line))
    if not report.passed or not judged:
        terminal.say(f"[{DIM}]{meaning}[/]")
    terminal.say()
