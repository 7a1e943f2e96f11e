"""A run in the middle of training: all that the next step depends on, and how it is written down and read back."""

import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scannable.training._checkpoint import load_weights, read_tensors, weights, write_tensors
from scannable.training._config import FREE
from scannable.training._device import rounded_products
from scannable.training._distributed import ALONE, Peers
from scannable.training._folder import CHECKPOINT, MODEL, check_origin, fresh_model, read_model
from scannable.training._kinds import AnyRunConfig, begin
from scannable.training._log import Event, Progress
from scannable.training._optim import optimiser, rate
from scannable.training._record import to_json
from scannable.training._seeds import derive
from scannable.training._share import Objective, share, together, whole
from scannable.training._state import (
    generators,
    moments,
    restore_generators,
    restore_moments,
    seed_generators,
)
from scannable.training._stretch import Stretch

_MODEL = "model."


class Run:
    """Model, optimiser, course and generators of a run, at step 0; nothing is written before ``save``.

    It uses torch's global generators for dropout, so keep those of others with ``torch.random.fork_rng``. Several
    processes make the same calls in the same order.
    """

    def __init__(self, config: AnyRunConfig, folder: Path, peers: Peers = ALONE) -> None:
        self.config, self.folder, self.peers = config, folder, peers
        self.device = torch.device(config.device)
        self.course = begin(config, peers)
        self.model = fresh_model(config).to(self.device)
        objective = Objective(self.model, self.course.loss)
        self.objective = share(objective, config.parallel, peers, self.device, compiled=config.compile)
        self.optimiser = optimiser(config.optimiser, self.model)
        seed_generators(derive(config.seed, "dropout", peers.rank), self.device)
        self.step, self.saved_step = 0, -1
        self._before, self._begun = 0.0, time.monotonic()
        self._latest = Stretch(self.device)

    @property
    def seconds(self) -> float:
        """Training time so far, that before a resume counted in."""
        return self._before + time.monotonic() - self._begun

    def turn(self) -> list[Event]:
        """Make one update, and the checks and the report that are due after it: the first process has the events."""
        self._update()
        events: list[Event] = []
        if self.step % self.config.log_every == 0 or self.step == self.config.steps:
            events.append(self._progress())
        check = self._check()
        events += [] if check is None else [check]
        return events if self.peers.leads else []

    def save(self) -> None:
        """Write the checkpoint, then the model by itself.

        Raises:
            FloatingPointError: If a weight is not finite; the last checkpoint is kept.
            OSError: If they cannot be written; likewise.
        """
        with self._latest.paused():
            self._save()
        self.saved_step = self.step

    def _save(self) -> None:
        tensors, facts = self._tensors(), self._facts()

        def write() -> None:
            kept = _of_model(tensors)
            broken = [name for name, x in kept.items() if not torch.isfinite(x).all()]
            if broken:
                raise self._diverged(f"values in {broken[0]} that are not")
            write_tensors(self.folder / CHECKPOINT, tensors, facts)
            self._write_model(kept)

        self.peers.lead(write)

    def mend(self) -> None:
        """Write the model by itself again if its file is lost, cannot be read, or is of an earlier step."""
        kept = _of_model(self._tensors())

        def write() -> None:
            try:
                facts = read_model(fresh_model(self.config), self.config, self.folder)
                stale = facts.get("step", self.step) != self.step  # other writers say no step
            except (FileNotFoundError, ValueError):
                stale = True
            if stale:
                self._write_model(kept)

        self.peers.lead(write)

    def close(self) -> None:
        """Let go of what the processes share, before they part: its end must not be left to whoever drops the run."""
        del self.objective

    def restore(self) -> None:
        """Go on from the folder's checkpoint.

        Raises:
            ValueError: If the checkpoint is damaged, or of another run or text.
        """
        path = self.folder / CHECKPOINT
        tensors, facts = read_tensors(path)
        check_origin(path, facts, self.config, tuple(x for x in to_json(self.config) if x not in FREE))
        load_weights(self.model, _of_model(tensors), path)
        try:
            self._restore_rest(tensors, facts)
        except (KeyError, TypeError, IndexError, RuntimeError) as error:
            raise ValueError(
                f"{path} must hold all that the next step depends on, got one with a part missing or of another form "
                f"({error!r}); train again in another folder."
            ) from error

    def _restore_rest(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Read moments, generators and numbers."""
        restore_moments(self.optimiser, tensors, facts["moments"])
        self.course.restore({name: x for name, x in tensors.items() if name.startswith("course.")}, facts)
        step = int(facts["step"])
        restore_generators(tensors, self.device, self.peers, seed=self.config.seed, step=step)
        self.step = self.saved_step = step
        self._before, self._begun = float(facts["seconds"]), time.monotonic()

    def _tensors(self) -> dict[str, Tensor]:
        """Put together, in the first process, all that the next step depends on; the others get nothing."""
        parts = {f"{_MODEL}{name}": x for name, x in weights(self.model).items()} | moments(self.optimiser)
        tensors = {}
        for name, x in parts.items():
            # One at a time, so that a GPU never has the whole of what it keeps a part of.
            put_together = whole(x.detach())
            if self.peers.leads:
                tensors[name] = put_together.cpu()
        kept = self.course.tensors() | generators(self.device, self.peers)
        return tensors | kept if self.peers.leads else {}

    def _facts(self) -> dict[str, Any]:
        return {
            "config": to_json(self.config),
            "step": self.step,
            **self.course.facts(),
            "seconds": self.seconds,
            # A parameter that no loss has reached yet has none.
            "moments": sorted(self.optimiser.state_dict()["state"]),
        }

    def _update(self) -> None:
        config, latest = self.config, self._latest
        batch = self.course.batch(self.step)
        latest.rate = rate(config.optimiser, self.step, config.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = latest.rate
        rows, narrow = len(batch.tokens), config.precision == "bfloat16"
        with rounded_products(allowed=narrow and self.device.type == "cuda"):
            for start in range(0, rows, size := math.ceil(rows / config.parts)):
                part = batch.rows(start, start + size)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=narrow):
                    value = self.objective(part) * (len(part.tokens) / rows)
                value.backward()
                latest.loss = latest.loss + value.detach()
        latest.norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.optimiser.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        latest.steps += 1
        latest.tokens += batch.tokens.numel() * self.peers.count
        self.step += 1

    def _check(self) -> Event | None:
        """Score the model if that is due: where each process keeps the whole, in the first only."""
        alone = self.config.parallel == "replicate"
        if not self.course.due(self.step) or (alone and not self.peers.leads):
            return None
        with self._latest.paused(), together(self.objective):
            try:
                found = self.course.check(self.model, self.step)
            except FloatingPointError as error:
                raise self._diverged("a loss in a check that is not") from error
        if found is not None and not math.isfinite(found.loss):
            raise self._diverged(f"loss={found.loss} in a check")
        return found

    def _progress(self) -> Progress:
        latest = self._latest
        mean, norm = float(self.peers.mean(latest.loss)) / latest.steps, float(whole(latest.norm))
        for name, value in (("loss", mean), ("gradient_norm", norm)):
            if not math.isfinite(value):
                raise self._diverged(f"{name}={value}")
        event = Progress(
            step=self.step,
            steps=self.config.steps,
            length=self.course.length,
            loss=mean,
            rate=latest.rate,
            gradient_norm=norm,
            tokens_per_second=latest.speed,
            seconds=self.seconds,
            processes=self.peers.count,
        )
        self._latest = Stretch(self.device)
        return event

    def _write_model(self, kept: dict[str, Tensor]) -> None:
        facts = {"config": to_json(self.config), "step": self.step, **self.course.facts()}
        write_tensors(self.folder / MODEL, kept, facts)

    def _diverged(self, got: str) -> FloatingPointError:
        kept = f", in a new folder. {self.folder} keeps its last checkpoint." if self.saved_step >= 0 else "."
        return FloatingPointError(
            f"Training must stay finite, got {got} by step {self.step}; lower optimiser.rate or optimiser.clip, or "
            f"lengthen optimiser.warmup{kept}"
        )


def _of_model(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(_MODEL): x for name, x in tensors.items() if name.startswith(_MODEL)}
