"""What a call that trains a row of the table of language models is asked to do."""

import math
from dataclasses import dataclass
from pathlib import Path

from scannable.experiments._language_rows import LANGUAGE_ROWS
from scannable.scans._option import check_option
from scannable.training._device import named


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """Which row is trained, on what, and how long."""

    row: str = "paper-64"
    """The model, as docs/language.md names them."""
    data: str | None = None
    """A folder with a train and a valid part; left out: the articles in the package, to try the command."""
    test: Path | None = None
    """The text that is reported on; left out: the valid part."""
    seed: int = 0
    """Decides weights and the order of windows."""
    rate: float | None = None
    """The highest learning rate; left out: the best of `rates` in short trials."""
    rates: tuple[float, ...] = (3e-4, 6e-4, 1.2e-3)
    """What is tried."""
    trial_tokens: int = 20_000_000
    """Tokens of a trial."""
    tokens: int = 370_000_000
    """Tokens of the run itself; none: only the trials, and the stream with fresh weights."""
    step_tokens: int = 65_536
    """Tokens of an update."""
    stream: int = 40_000
    """Tokens of the stream that is timed, after its first chunk."""
    parts: int = 1
    """Parts in which an update's sequences go through the model, where memory is short."""
    device: str = "cuda"
    """Where all of it runs."""
    compile: bool = True
    """Train through torch.compile."""

    @property
    def name(self) -> str:
        """What the folder of its figures is called: that of the run, or one beside it if none is trained in full."""
        kind = "" if self.tokens else "-trials" if self.rate is None else "-stream"
        return f"{self.row}-{self.seed}{kind}"

    def __post_init__(self) -> None:
        check_option("row", self.row, tuple(LANGUAGE_ROWS))
        if min(self.trial_tokens, self.step_tokens) < 1 or min(self.tokens, self.stream) < 0:
            raise ValueError(
                f"trial_tokens and step_tokens must be at least 1 and tokens and stream at least 0, got "
                f"{self.trial_tokens}, {self.step_tokens}, {self.tokens} and {self.stream}; raise them."
            )
        # Otherwise an update trains on fewer tokens than are counted.
        if self.step_tokens % (length := LANGUAGE_ROWS[self.row].length):
            near = max(1, self.step_tokens // length) * length
            raise ValueError(
                f"step_tokens must be a multiple of the {length} tokens that {self.row} reads at once, got "
                f"{self.step_tokens}; set step_tokens to {near}."
            )
        rates = self.rates if self.rate is None else (self.rate,)
        if not rates or not all(0 < rate < math.inf for rate in rates):
            name, got = ("rates", list(rates)) if self.rate is None else ("rate", self.rate)
            raise ValueError(
                f"Learning rates must be finite numbers above zero, one at least, got {name}={got}; try 6e-4."
            )
        named(self.device)
