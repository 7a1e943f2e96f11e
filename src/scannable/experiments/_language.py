"""The paper's table of language models: train a row on text, then measure how well it predicts and what it costs.

The setting is that of [1], Section 4: models of GPT-2's base size read windows of 512 tokens, whatever articles they
are from. Here every token is scored, the final weights count, and each figure stands beside the share of tokens that
read a merged state.

[1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from scannable.data import Text, read, read_text
from scannable.experiments._language_config import LanguageConfig
from scannable.experiments._language_rows import LANGUAGE_ROWS
from scannable.experiments._language_stream import streamed
from scannable.experiments._measure import environment
from scannable.experiments._results import history, write_results
from scannable.training import (
    Event,
    OptimiserConfig,
    TextConfig,
    TextRunConfig,
    load,
    score,
    train,
)
from scannable.training._device import available
from scannable.training._distributed import started
from scannable.training._folder import CHECKPOINT, METRICS, fresh_model
from scannable.training._scores import finite

Report = Callable[[str, Event], None]


def language(
    config: LanguageConfig, folder: Path | str, report: Report | None = None
) -> dict[str, Any] | None:
    """Train a row of the table and measure it, in folders that an interrupted call takes up again.

    What came out is in ``results.json`` and ``report.html``, in the folder of the config's name. Under torchrun all
    processes make this call and share the training, at a rate that is given; the first one measures, and the others
    return None.

    Returns:
        ``rate``: the one trained with, given or the best of those tried. ``trials``: the loss on the valid part
        after each rate tried, None if it did not stay finite; None if a rate was given.
        ``training`` and ``scores`` (None if no tokens are trained on): what the run took, and how well each form
        predicts the test text; ``peak_bytes`` is None unless this call made all steps on a GPU. ``stream``: what a
        token costs in one long stream, of the weights that the run would begin with if none were trained. ``machine``
        and ``config`` tell where and how.

    Raises:
        ValueError: If several processes are to try rates, or cannot share an update's windows.
        FloatingPointError: If training does not stay finite, at any of the rates that are tried.
    """
    rank, processes = started()
    if processes > 1 and config.rate is None:
        raise ValueError(
            f"Rates are tried by one process, got {processes} and no rate; give the rate, or try rates first with "
            f"tokens=0 and without torchrun."
        )
    if config.step_tokens % (even := processes * LANGUAGE_ROWS[config.row].length):
        near = max(1, config.step_tokens // even) * even
        raise ValueError(
            f"The processes must read as many windows of an update each, got step_tokens={config.step_tokens} and "
            f"{processes} processes; set step_tokens to {near}."
        )
    folder, say, device = Path(folder), report or (lambda *_: None), available(config.device)
    # Whatever is wrong with what was asked for is said before anything is trained.
    text = read_text(config.test) if config.test else read(config.data).valid
    if len(text.ids) < 2:
        raise ValueError(
            f"The text that is reported on must have at least 2 tokens, got {len(text.ids)}; give a longer one."
        )
    _run(config, config.rate or config.rates[0], 1)
    place, trials, rate = folder / config.name, None, config.rate
    if rate is None:
        trials = {rate: _trial(config, rate, folder, say) for rate in config.rates}
        rate = min(trials, key=lambda rate: trials[rate])
        if trials[rate] == math.inf:
            raise FloatingPointError(
                f"Training must stay finite at one rate at least, got {list(trials)}; try lower ones."
            )
    found: dict[str, Any] = {
        "format": 1,
        "kind": "language",
        "row": config.row,
        "seed": config.seed,
        "rate": rate,
        "trials": trials and [{"rate": rate, "loss": finite(loss)} for rate, loss in trials.items()],
        "training": None,
        "scores": None,
        "stream": None,
        "machine": environment(),
        # Where the texts were is nobody's business, what they are called is.
        "config": asdict(config)
        | {"data": config.data and Path(config.data).name, "test": config.test and config.test.name},
    }
    run = _run(config, rate, max(1, config.tokens))
    if config.tokens:
        found["training"] = _train(run, place, say)
    if rank > 0:
        return None
    if config.tokens:
        model, _ = load(place, device=config.device)
        found["scores"] = _scores(model, text, run)
    else:
        model = fresh_model(run).to(device)
    found["stream"] = streamed(model, text, config.stream)
    write_results(place, found)
    return found


def _run(config: LanguageConfig, rate: float, tokens: int) -> TextRunConfig:
    """Describe a run of so many tokens."""
    row = LANGUAGE_ROWS[config.row]
    steps = math.ceil(tokens / config.step_tokens)
    return TextRunConfig(
        model=row.model,
        text=TextConfig(data=config.data, length=row.length),
        optimiser=OptimiserConfig(rate=rate, warmup=max(1, steps // 20), decay=0.1, betas=(0.9, 0.95)),
        steps=steps,
        tokens=config.step_tokens,
        parts=config.parts,
        seed=config.seed,
        device=config.device,
        # On a CPU a row is only tried, and bfloat16 is slower there.
        precision="float32" if torch.device(config.device).type == "cpu" else "bfloat16",
        compile=config.compile,
        log_every=max(1, steps // 200),
        save_every=300.0,
        check_every=max(1, steps // 8),
        check_tokens=300_000,
    )


def _trial(config: LanguageConfig, rate: float, folder: Path, say: Report) -> float:
    """Return the loss on the valid part that a rate leads to in a short run, infinite if it does not stay finite."""
    run = _run(replace(config, seed=0), rate, config.trial_tokens)
    place = folder / f"{config.row}-rate-{rate!r}"
    try:
        train(replace(run, check_every=run.steps), place, report=partial(say, f"rate {rate:g}"))
    except FloatingPointError:
        return math.inf
    return _events(place, "textcheck")[-1]["loss"]


def _train(run: TextRunConfig, folder: Path, say: Report) -> dict[str, Any] | None:
    """Train, and let the first process tell what it took; taken up again, it has not seen the peak of memory."""
    device, whole = torch.device(run.device), not (folder / CHECKPOINT).exists()
    rank, _ = started()
    if device.type == "cuda" and rank == 0:
        torch.cuda.reset_peak_memory_stats(device)
    result = train(run, folder, report=partial(say, "training"))
    if rank > 0:
        return None
    progress, checks = _events(folder, "progress"), _events(folder, "textcheck")
    counts = [event["processes"] for event in progress]
    speeds = [
        event["tokens_per_second"]
        for event, count in zip(progress, counts, strict=True)
        if count == counts[-1]
    ]
    model, _ = load(folder)
    return {
        "steps": result.step,
        "tokens": result.step * run.tokens,
        "seconds": result.seconds,
        "processes": counts[-1],
        "tokens_per_second": statistics.median(speeds),
        "peak_bytes": _peak(device) if whole else None,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "losses": [[event["step"], event["loss"]] for event in progress],
        "valid_losses": [[event["step"], event["loss"]] for event in checks],
    }


def _events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Read what a run noted down of one kind."""
    events = history(folder) if (folder / METRICS).exists() else []
    found = [event for event in events if event["event"] == kind]
    if not found:
        raise ValueError(
            f"{folder} must hold the log of its run, got one that says nothing of {kind}; remove that folder, and "
            f"give the same command again."
        )
    return found


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _scores(model: Any, text: Text, run: TextRunConfig) -> list[dict[str, Any]]:
    """Score a text in both forms and both precisions."""
    ways: list[dict[str, Any]] = [
        {"reading": "blocked", "form": form, "precision": precision}
        for precision in ("float32", "bfloat16")
        for form in ("parallel", "streaming")
    ]
    if getattr(run.model, "positions", "none") != "absolute":
        ways.append({"reading": "carried", "form": "parallel", "precision": "float32"})
    scores = []
    for way in ways:
        begun = time.perf_counter()
        found = score(model, text, length=run.text.length, **way)
        seconds = time.perf_counter() - begun
        scores.append({**way, **found.to_dict(), "seconds": seconds})
    return scores
