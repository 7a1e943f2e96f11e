"""Streams: what a model keeps of the tokens so far, as a value that can be kept, forked, saved, resumed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

from scannable.scans import Counter


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """The state of a text that is read bit by bit.

    Keep it, fork it by keeping it twice, save it with ``tensors``. Read under ``torch.no_grad()``, or ``detach`` it now
    and then, or it remembers how to differentiate through the whole text.

    Attributes:
        owner: The mark of the model that wrote it, which alone can read on.
        count: How many tokens were read.
        batch: How many texts are read side by side; the first axis of every tensor here.
        cache: What the last module keeps of the tokens it can still see.
        counter: The states of all whole chunks, in a model that has chunks.
        chunk: The tokens of the chunk that is not whole yet, ``(B, fewer than C)``.
    """

    owner: object
    count: int
    batch: int
    cache: Any
    counter: Counter | None = None
    chunk: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of memory that the stream keeps from being freed."""
        storages = [x.untyped_storage() for x in self._flatten()[0] if isinstance(x, Tensor)]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    def _flatten(self) -> tuple[list[Any], Any]:
        counter = self.counter
        states = counter and [counter.empty_prefix, counter.roots, counter.folds]
        return _pytree.tree_flatten([self.cache, self.chunk, states])

    def detach(self) -> "Stream":
        """Forget the gradients of what was read, as truncated back-propagation through time does."""
        leaves, structure = self._flatten()
        return self._with([x.detach() if isinstance(x, Tensor) else x for x in leaves], structure)

    def _with(self, leaves: list[Any], structure: Any, **fields: Any) -> "Stream":
        """Put other leaves in the place of those that ``_flatten`` gave, with their structure."""
        cache, chunk, states = _pytree.tree_unflatten(leaves, structure)
        counter = self.counter
        if counter is not None:
            empty_prefix, roots, folds = states
            counter = replace(counter, empty_prefix=empty_prefix, roots=roots, folds=folds)
        return replace(self, cache=cache, chunk=chunk, counter=counter, **fields)

    def tensors(self) -> dict[str, Tensor]:
        """Write the stream as named tensors, ready for ``safetensors.torch.save_file``."""
        tensors = [x for x in self._flatten()[0] if isinstance(x, Tensor)]
        named = {
            f"{i}": x.detach().clone(memory_format=torch.contiguous_format) for i, x in enumerate(tensors)
        }
        return {"count": torch.tensor(self.count), "batch": torch.tensor(self.batch), **named}

    @classmethod
    def from_tensors(cls, named: dict[str, Tensor], like: Callable[[int], "Stream"]) -> "Stream":
        """Read what ``tensors`` wrote.

        Nothing but the tensors' values is taken from ``named``: their places, shapes and dtypes must be those of the
        model's own streams.

        Args:
            named: The tensors, on any device.
            like: The model's stream of one text (``B = 1``) after so many tokens, whatever they are.

        Raises:
            ValueError: If the tensors are not those of a stream of such a model.
        """
        count, batch = _number(named, "count", least=0), _number(named, "batch", least=1)
        with torch.no_grad():
            model = like(count)
        leaves, structure = model._flatten()
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        wanted = {f"{n}": (leaves[i].dtype, (batch, *leaves[i].shape[1:])) for n, i in enumerate(places)}
        got = {name: (x.dtype, tuple(x.shape)) for name, x in named.items() if name not in ("count", "batch")}
        wrong = sorted(name for name in wanted | got if not _fits(wanted.get(name), got.get(name)))
        if wrong:
            name = wrong[0]
            raise ValueError(
                f"A saved stream must have the tensors of this model's streams after {count} tokens, {len(wanted)} of "
                f"them and {name!r} being {wanted.get(name)}, got {len(got)} and {got.get(name)}; "
                f"resume it with the model that wrote it."
            )
        for n, i in enumerate(places):
            leaves[i] = named[f"{n}"].to(leaves[i].device)
        return model._with(leaves, structure, batch=batch)


def check_kind(stream: Any) -> None:
    """Refuse what is no stream.

    Raises:
        TypeError: If so.
    """
    if not isinstance(stream, Stream):
        raise TypeError(
            f"A stream must be what a model's start, prefill or restore returned, got {type(stream).__name__}; give "
            f"one of these."
        )


def _fits(wanted: Any, got: Any) -> bool:
    """Tell whether a tensor may stand for another: of its shape, and of its dtype or one that autocast has left."""
    if wanted is None or got is None:
        return False
    left = (torch.bfloat16, torch.float16) if wanted[0] == torch.float32 else ()
    return wanted[1] == got[1] and got[0] in (wanted[0], *left)


def _number(named: dict[str, Tensor], name: str, *, least: int) -> int:
    """Read a whole number, not so large that places in the text overflow."""
    got = named.get(name)
    if got is None or got.dim() or got.dtype != torch.long or not least <= int(got) < 2**48:
        raise ValueError(
            f"A saved stream must have a whole number {name!r} from {least} to 2**48, got {got} "
            f"among tensors {sorted(named)}; save the stream again with Stream.tensors()."
        )
    return int(got)
