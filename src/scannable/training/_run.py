"""A run in the middle of training: all that the next step depends on, and how it is written down and read back."""

import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scannable.tasks import WordProblem, loss
from scannable.training._checkpoint import load_weights, read_tensors, weights, write_tensors
from scannable.training._config import FREE, RunConfig
from scannable.training._curriculum import Curriculum
from scannable.training._evaluate import evaluate
from scannable.training._folder import CHECKPOINT, check_origin, fresh_model, read_model, write_model
from scannable.training._log import Check, Event, Progress
from scannable.training._optim import optimiser, rate
from scannable.training._record import to_json
from scannable.training._seeds import derive


class Run:
    """Model, optimiser, curriculum and generators of a run, at step 0.

    It uses torch's global generators for dropout, so keep those of others with ``torch.random.fork_rng``.

    Attributes:
        whole: Whether the last turn was finished, so that a checkpoint would hold a state of the run.
    """

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.device = torch.device(config.device)
        self.task = WordProblem(config.task)
        self.model = fresh_model(config).to(self.device)
        self.forward = torch.compile(self.model) if config.compile else self.model
        self.optimiser = optimiser(config.optimiser, self.model)
        self.curriculum = Curriculum.begin(config.curriculum, config.task.shortest, config.task.longest)
        self.lengths = torch.Generator().manual_seed(derive(config.seed, "lengths"))
        place = self.device if config.draw == "device" else "cpu"
        self.batches = torch.Generator(place).manual_seed(derive(config.seed, "batches"))
        torch.random.default_generator.manual_seed(derive(config.seed, "dropout"))
        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.manual_seed(derive(config.seed, "dropout"))
        self.step, self.whole, self.saved_step = 0, True, -1
        self._before, self._begun = 0.0, time.monotonic()
        self._forget()

    @property
    def seconds(self) -> float:
        """Training time so far, that before a resume counted in."""
        return self._before + time.monotonic() - self._begun

    def turn(self) -> list[Event]:
        """Make one update, and the checks and the report that are due after it."""
        self.whole = False
        self._update()
        events: list[Event] = []
        if self.step % self.config.log_every == 0 or self.step == self.config.steps:
            events.append(self._progress())
        if self.step % self.config.curriculum.every == 0 or self.step == self.config.steps:
            events.append(self._check())
        self.whole = True
        return events

    def save(self) -> None:
        """Write the checkpoint, then the model by itself.

        Raises:
            FloatingPointError: If a weight is not finite; the last checkpoint is kept.
        """
        kept = weights(self.model)
        broken = [name for name, x in kept.items() if not torch.isfinite(x).all()]
        if broken:
            raise self._diverged(f"values in {broken[0]} that are not")
        write_tensors(self.folder / CHECKPOINT, self._tensors(kept), self._facts())
        write_model(self.model, self.config, self.folder)
        self.saved_step = self.step

    def mend(self) -> None:
        """Write the model by itself again if its file is lost or cannot be read."""
        try:
            read_model(fresh_model(self.config), self.config, self.folder)
        except (FileNotFoundError, ValueError):
            write_model(self.model, self.config, self.folder)

    def restore(self) -> None:
        """Go on from the folder's checkpoint.

        Raises:
            ValueError: If the checkpoint is damaged, or of another run.
        """
        path = self.folder / CHECKPOINT
        tensors, facts = read_tensors(path)
        check_origin(path, facts, self.config, tuple(x for x in to_json(self.config) if x not in FREE))
        own = {f"model.{name}" for name in weights(self.model)}
        kept = {name: x for name, x in tensors.items() if name.startswith("model.")}
        load_weights(self.model, {name.removeprefix("model."): x for name, x in kept.items()}, path)
        try:
            self._restore_rest({name: x for name, x in tensors.items() if name not in own}, facts)
        except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
            raise ValueError(
                f"{path} must hold all that the next step depends on, got one with a part missing or of another form "
                f"({error!r}); train again in another folder."
            ) from error

    def _restore_rest(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Read moments, generators and numbers."""
        moments: dict[int, dict[str, Tensor]] = {}
        shapes = [x.shape for group in self.optimiser.param_groups for x in group["params"]]
        for name, x in tensors.items():
            part, _, rest = name.partition(".")
            if part == "optimiser":
                number, _, key = rest.partition(".")
                if x.dim() and x.shape != shapes[int(number)]:
                    raise ValueError(f"{name} of shape {tuple(x.shape)}")
                moments.setdefault(int(number), {})[key] = x
        if sorted(moments) != facts["moments"]:
            raise ValueError(f"moments of parameters {sorted(moments)} instead of {facts['moments']}")
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.lengths.set_state(tensors["generator.lengths"])
        self.batches.set_state(tensors["generator.batches"])
        torch.set_rng_state(tensors["generator.cpu"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["generator.cuda"], self.device)
        self.step = self.saved_step = int(facts["step"])
        self.curriculum = self.curriculum.at(facts["stage"], solved=facts["solved"])
        self._before, self._begun = float(facts["seconds"]), time.monotonic()

    def _tensors(self, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        tensors = {f"model.{name}": x for name, x in kept.items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{key}": x for key, x in moments.items()}
        tensors["generator.lengths"] = self.lengths.get_state()
        tensors["generator.batches"] = self.batches.get_state()
        tensors["generator.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["generator.cuda"] = torch.cuda.get_rng_state(self.device)
        return tensors

    def _facts(self) -> dict[str, Any]:
        return {
            "config": to_json(self.config),
            "step": self.step,
            "stage": self.curriculum.stage,
            "solved": self.curriculum.solved,
            "seconds": self.seconds,
            # A parameter that no loss has reached yet has none.
            "moments": sorted(self.optimiser.state_dict()["state"]),
        }

    def _update(self) -> None:
        config = self.config
        length = self.curriculum.draw(self.lengths)
        words = max(1, config.tokens // length)
        batch = self.task.batch(words, length, self.batches).to(self.device)
        self._rate = rate(config.optimiser, self.step, config.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            value = loss(self.forward(batch.tokens), batch)
        value.backward()
        self._norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.optimiser.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        # Kept on the device: reading it at every step would make the GPU wait.
        self._loss = self._loss + value.detach()
        self._steps += 1
        self._tokens += words * length
        self.step += 1

    def _progress(self) -> Progress:
        mean = float(self._loss) / self._steps
        if not math.isfinite(mean):
            raise self._diverged(f"loss={mean}")
        elapsed = time.monotonic() - self._since
        event = Progress(
            step=self.step,
            steps=self.config.steps,
            length=self.curriculum.length,
            loss=mean,
            rate=self._rate,
            gradient_norm=float(self._norm),
            tokens_per_second=self._tokens / max(elapsed, 1e-9),
            seconds=self.seconds,
        )
        self._forget()
        return event

    def _check(self) -> Check:
        now = self.curriculum
        seed = derive(self.config.seed, "check", self.step)
        words = self.config.curriculum.words
        (scores,) = evaluate(self.model, self.task, [now.length], sequences=words, seed=seed)
        self.curriculum = now.observe(scores.final_error)
        return Check(
            step=self.step,
            stage=now.stage,
            length=now.length,
            loss=scores.loss,
            error=scores.error,
            final_error=scores.final_error,
            solved=scores.final_error <= now.threshold,
        )

    def _forget(self) -> None:
        """Begin a new stretch of steps to report on."""
        self._loss: Tensor = torch.zeros((), device=self.device)
        self._steps = self._tokens = 0
        self._since = time.monotonic()

    def _diverged(self, got: str) -> FloatingPointError:
        return FloatingPointError(
            f"Training must stay finite, got {got} by step {self.step}; lower optimiser.rate or optimiser.clip, or "
            f"lengthen optimiser.warmup, in a new folder. {self.folder} keeps its last checkpoint."
        )
