"""``scannable generate``: what a run on text writes after a prompt, word by word as it comes."""

import itertools
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from jaxtyping import Int
from rich.segment import Segment, Segments
from rich.style import Style
from torch import Tensor

from scannable.cli._target import open_text
from scannable.cli._terminal import DIM, Terminal, duration, size
from scannable.data import Tokenizer, tokenizer
from scannable.models._generate import Sampler, graphs_for, sampler
from scannable.training._config import Precision
from scannable.training._device import available, named

VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
"""How people see control characters: a terminal would obey them."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Let a run on text go on from a prompt, and print words as they come; at the end, tokens a second and state bytes.

    With --json each piece of text is an object `{"event": "text", "text": ...}`, and the last object the result.
    Ctrl-C ends it, with what there is to say at the end, and with exit code 130.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder."""
    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """What to go on from. With - it is read from the standard input, as it is, and "" is a new line, since something
    must be read first. One that begins with a dash is given last, after -- alone."""
    tokens: int = 200
    """How many tokens to write; with 0 it goes on until Ctrl-C."""
    temperature: int | float = 1.0
    """Logits are divided by it; 0 takes the likeliest token."""
    top_k: int | None = None
    """Draw from the so many likeliest tokens only; left out: from all."""
    top_p: int | float | None = None
    """Draw from the fewest likeliest tokens only whose probabilities add up to this share; left out: from all."""
    seed: int | None = None
    """Decides what is drawn; left out: another text each time."""
    device: str = "cpu"
    """Where to run, as torch names it."""
    precision: Precision = "float32"
    """With bfloat16 the model's weights are cast, and so is what it keeps of the text."""
    json: bool = False
    """Print JSON objects, one a line, and nothing else."""

    def __post_init__(self) -> None:
        if self.tokens < 0:
            raise ValueError(f"tokens must be at least 0, got {self.tokens}; 0 goes on until Ctrl-C.")
        if self.seed is not None and not 0 <= self.seed < 2**64:
            raise ValueError(f"seed must be from 0 to 2**64 - 1, got {self.seed}; choose another.")
        sampler(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)
        named(self.device)


def run(options: Options, terminal: Terminal) -> bool:
    """Read the prompt, write on, and say how fast it went."""
    device = available(options.device)
    model, config = open_text(options.run)
    vocabulary = tokenizer(config.text.tokenizer)
    text = _stdin() if options.prompt == "-" else options.prompt
    prompt = _ids(text, vocabulary).to(device)
    model = model.to(device)
    if options.precision == "bfloat16":
        model = model.bfloat16()
    generator = torch.Generator(device)
    seed = generator.seed() if options.seed is None else options.seed
    drawing = {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    draw = sampler(**drawing, generator=generator.manual_seed(seed))
    writer = _Writer(model, prompt, draw, graphs=graphs_for(options.tokens or None))
    decoder, stopped = vocabulary.decoder(), "error"
    if not terminal.json:
        _show(text, terminal, style=DIM)
    try:
        for _ in range(options.tokens) if options.tokens else itertools.count():
            _show(decoder.push(writer.write()), terminal)
        stopped = "tokens"
    except KeyboardInterrupt:
        stopped = "interrupt"
        raise
    finally:
        _show(decoder.finish(), terminal)
        found = writer.record()
        ran = {"run": options.run, "tokenizer": vocabulary.name, "device": options.device}
        ran |= {"precision": options.precision, **drawing, "seed": seed}
        terminal.record({"event": "result", "stopped": stopped, **found, **ran})
        terminal.say(_summary(found))
    return True


class _Writer:
    """Writes one token after another, and counts and times them."""

    def __init__(self, model: Any, prompt: Int[Tensor, "1 T"], draw: Sampler, *, graphs: bool | None) -> None:
        self._prompt, self._written, self._read = prompt.shape[1], 0, prompt.shape[1]
        with torch.no_grad():
            # What torch imports at the first call, for more than a second, is not the prompt's.
            model.prefill(model.start(), prompt[:, :1])[0].cpu()
            begun = time.perf_counter()
            logits, stream = model.prefill(model.start(), prompt)
        self._logits = self._finite(logits)
        self._prompt_seconds = time.perf_counter() - begun
        self._reader, self._draw = model.stepper(stream, graphs=graphs), draw
        self._token: Tensor | None = None
        self._begun = time.perf_counter()

    def write(self) -> int:
        """Read the last token, if there is one, and return the next."""
        if self._token is not None:
            self._logits = self._finite(self._reader.step(self._token))
            self._read += 1
        self._token = self._draw(self._logits)
        self._written += 1
        return int(self._token)

    def record(self) -> dict[str, Any]:
        """Return what was counted and timed; the speed is that of tokens that were read again, as all but the last."""
        seconds, steps = time.perf_counter() - self._begun, self._read - self._prompt
        return {
            "prompt_tokens": self._prompt,
            "prompt_seconds": self._prompt_seconds,
            "tokens": self._written,
            "seconds": seconds,
            "tokens_per_second": steps / seconds if steps else None,
            "tokens_read": self._read,
            "state_bytes": self._reader.nbytes,
        }

    def _finite(self, logits: Tensor) -> Tensor:
        if not logits.isfinite().all():
            raise FloatingPointError(
                f"A model must say finite numbers, got others after {self._read} tokens; train it again, at a lower "
                f"learning rate."
            )
        return logits


def _ids(text: str, vocabulary: Tokenizer) -> Int[Tensor, "1 T"]:
    return torch.from_numpy(vocabulary.encode(text or "\n").astype(np.int64))[None]


def _stdin() -> str:
    given = b"" if sys.stdin is None else sys.stdin.buffer.read()
    try:
        return given.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"A prompt must be UTF-8, got byte {given[error.start]:#04x} at offset {error.start}; convert it, as iconv "
            f"does."
        ) from error


def _show(piece: str, terminal: Terminal, style: str = "") -> None:
    """Write a piece of text as it is, without markup and line breaks of our own, where the terminal can show it."""
    if not piece:
        return
    terminal.record({"event": "text", "text": piece})
    if not (terminal.json or terminal.silent):
        encoding = terminal.console.encoding
        shown = piece.translate(VISIBLE).encode(encoding, "backslashreplace").decode(encoding)
        terminal.console.print(Segments([Segment(shown, Style.parse(style))]), end="", crop=False)


def _summary(found: dict[str, Any]) -> str:
    speed = found["tokens_per_second"]
    return (
        f"\n\n[{DIM}]{found['tokens']:,} tokens{'' if speed is None else f' at {speed:,.0f} a second'}, after "
        f"{found['prompt_tokens']:,} of the prompt in {duration(found['prompt_seconds'])}; "
        f"{found['tokens_read']:,} tokens read in all, a state of {size(found['state_bytes'])} kept[/]"
    )
