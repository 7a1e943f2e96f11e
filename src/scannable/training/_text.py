"""Runs on text: windows of ids in an order that seed and step decide, and a held-out part to score."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from scannable.data import Splits, read, tokenizer
from scannable.scans._option import check_option
from scannable.tasks import Batch
from scannable.training._config import RunConfig
from scannable.training._distributed import Peers
from scannable.training._log import TextCheck
from scannable.training._score import score
from scannable.training._scores import finite
from scannable.training._seeds import derive

TokenizerName = Literal["gpt2", "gpt2-4096", "bytes"]


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """What is read, and how much of it at once."""

    data: str | None = None
    """A file or folder of text or ids, or wikitext-103; left out: the Wikipedia articles in the package. Of a folder
    the files are read, not folders in it; names with the word train, valid (or val, dev) or test at the beginning or
    after a dot say which part a file is of: if one does, there must be a train part, and without such names all are of
    train. Without a valid part the last twentieth is held out."""
    tokenizer: TokenizerName = "gpt2"
    """GPT-2's byte pairs: all 50,257, or the first 4,096 for a small head; or the 256 bytes."""
    length: int = 512
    """Tokens that are read at once in training, each window predicting the token after each of its own."""

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length must be at least 1, got {self.length}; raise it.")
        check_option("tokenizer", self.tokenizer, get_args(TokenizerName))


@dataclass(frozen=True, kw_only=True)
class TextRunConfig(RunConfig):
    """What is trained on text, how, and for how long."""

    text: TextConfig = field(default_factory=TextConfig)
    """What is read."""
    check_every: int = 500
    """Steps from one score on held-out text to the next."""
    check_tokens: int = 65_536
    """How many held-out tokens are scored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.check_every < 1 or self.check_tokens < 2:
            raise ValueError(
                f"check_every must be at least 1 and check_tokens at least 2, got check_every={self.check_every} and "
                f"check_tokens={self.check_tokens}; raise them."
            )

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return tokenizer(self.text.tokenizer).vocabulary


class TextCourse:
    """Windows of a text, each once an epoch.

    An epoch begins at a random place below ``T`` and goes through its windows in random order, both decided by seed and
    epoch: so a batch depends on its step only, and models that share seed and text see the same tokens. Several
    processes divide the rows of every batch.
    """

    solved, over = False, False

    def __init__(self, config: TextRunConfig, peers: Peers) -> None:
        self.config, self.device, self.peers = config, torch.device(config.device), peers
        self.length = config.text.length
        self.rows = max(1, config.tokens // self.length)
        if self.rows % peers.count:
            raise ValueError(
                f"The windows of a step must divide by the number of processes, got tokens // text.length = "
                f"{self.rows} windows and {peers.count} processes; set tokens to a multiple of "
                f"{peers.count * self.length}, or start another number."
            )
        splits = read(config.text.data, config.text.tokenizer)
        self.fingerprints = fingerprints(splits)
        self._kept = _kept(splits, config.check_tokens)
        self.ids = torch.from_numpy(splits.train.ids.astype(np.int32)).to(self.device)
        # The first token is only read.
        self.held_out = splits.valid.beginning(config.check_tokens + 1)
        self.windows = (len(self.ids) - self.length) // self.length
        if self.windows < 1:
            raise ValueError(
                f"The training text must have at least 2 * length = {2 * self.length} tokens, got {len(self.ids)}; "
                f"give a longer text, or lower length."
            )
        self._epoch, self._starts = -1, torch.empty(0)

    @property
    def about(self) -> str:
        times = self.config.steps * self.rows / self.windows
        often = f"{times:.2g}" if times < 10 else f"{times:,.0f}"
        return f"All steps read the {len(self.ids):,} training tokens {often} times. {self._kept}"

    def batch(self, step: int) -> Batch:
        share = self.rows // self.peers.count
        first = step * self.rows + self.peers.rank * share
        places = range(first, first + share)
        starts = torch.stack([self._start(place) for place in places]).to(self.device)
        return next_tokens(
            self.ids[starts[:, None] + torch.arange(self.length + 1, device=self.device)].long()
        )

    def loss(self, model: Any, batch: Batch) -> Float[Tensor, ""]:
        return text_loss(model, batch)

    def due(self, step: int) -> bool:
        return step % self.config.check_every == 0 or step == self.config.steps

    def check(self, model: Any, step: int) -> TextCheck:
        found = score(
            model, self.held_out, length=self.length, reading="blocked", precision=self.config.precision
        )
        return TextCheck(
            step=step,
            tokens=len(found.nats),
            loss=found.loss,
            perplexity=finite(found.perplexity),
            bits_per_byte=found.bits_per_byte,
        )

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def facts(self) -> dict[str, Any]:
        return dict(self.fingerprints)

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        if changed := changes(facts, self.fingerprints):
            raise ValueError(
                f"A run must go on with the text it began with, got {changed}; restore the files, or train in "
                f"another folder."
            )

    def _start(self, place: int) -> Tensor:
        """Return where the window begins that is read at a place in the order of all epochs."""
        epoch, place = divmod(place, self.windows)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive(self.config.seed, "epoch", epoch))
            shift = torch.randint(self.length, (), generator=generator)
            self._starts = shift + self.length * torch.randperm(self.windows, generator=generator)
            self._epoch = epoch
        return self._starts[place]


def fingerprints(splits: Splits) -> dict[str, str]:
    """Return what the files of a run say of its text: "text" is the hash of the training part, "valid" of the other."""
    return {"text": splits.train.fingerprint, "valid": splits.valid.fingerprint}


def changes(facts: dict[str, Any], found: dict[str, str]) -> str:
    """Tell in which parts a text is not the one that a run's file speaks of; older files do not speak of all."""
    names = {"text": "a training part", "valid": "a held-out part"}
    return " and ".join(
        f"{name} of fingerprint {found[key]} after {facts[key]}"
        for key, name in names.items()
        if key in facts and facts[key] != found[key]
    )


def next_tokens(ids: Int64[Tensor, "B T1"]) -> Batch:
    """Ask for the token after each one but the last."""
    tokens, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    return Batch(tokens, targets, torch.ones_like(tokens, dtype=torch.bool))


def text_loss(model: Any, batch: Batch) -> Float[Tensor, ""]:
    """Return the mean cross-entropy (nats) over the places that are asked; logits are never kept."""
    share = batch.mask / batch.mask.sum()
    return model.head.loss(model.features(batch.tokens), batch.targets, share)


def _kept(splits: Splits, check_tokens: int) -> str:
    count, some = len(splits.valid.ids), ", ".join(splits.unread[:3]) + ", ..." * (len(splits.unread) > 3)
    return (
        f"Held out: {splits.held_out or 'the validation part'} ({count:,} tokens); checks score the first "
        f"{min(check_tokens, count - 1):,} tokens of it."
        f"{f' Not read, since their names say no part, or they are folders: {some}.' if some else ''}"
    )
