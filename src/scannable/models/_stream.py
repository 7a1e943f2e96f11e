"""Streams: what a model keeps of the tokens so far, as a value that can be kept, forked, saved, resumed."""

import json
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils import _pytree

from scannable.scans import Aggregator, Counter


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """The state of a text that is read bit by bit.

    Attributes:
        count: How many tokens were read.
        cache: What the last module keeps of the tokens it can still see.
        counter: The states of all whole chunks, in a model that has chunks.
        chunk: The tokens of the chunk that is not whole yet, ``(B, fewer than C)``.
    """

    count: int
    cache: Any
    counter: Counter | None = None
    chunk: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """The bytes of all that is kept."""
        tensors = {id(x): x for x in _pytree.tree_leaves(self._tree()) if isinstance(x, Tensor)}
        return sum(x.numel() * x.element_size() for x in tensors.values())

    def _tree(self) -> list[Any]:
        counter = self.counter
        kept = counter and [counter.count, counter.empty_prefix, counter.roots, counter.folds]
        return [self.count, self.cache, self.chunk, kept]

    def tensors(self) -> dict[str, Tensor]:
        """Write the stream as named tensors, ready for ``safetensors.torch.save_file``.

        Raises:
            TypeError: If a cache holds something else than tensors and plain numbers.
        """
        leaves, structure = _pytree.tree_flatten(self._tree())
        constants = {i: x for i, x in enumerate(leaves) if not isinstance(x, Tensor)}
        if not all(x is None or isinstance(x, int | float) for x in constants.values()):
            kinds = sorted({type(x).__name__ for x in constants.values()})
            raise TypeError(f"A stream to be saved holds tensors and numbers, got {kinds}; keep only those.")
        plan = json.dumps([_pytree.treespec_dumps(structure), list(constants.items())])
        named = {f"{i}": x.detach().clone().contiguous() for i, x in enumerate(leaves) if i not in constants}
        return {**named, "plan": torch.tensor(list(plan.encode()), dtype=torch.uint8)}

    @classmethod
    def from_tensors(cls, named: dict[str, Tensor], aggregator: Aggregator | None) -> Self:
        """Read what ``tensors`` wrote; the aggregator is the model's.

        Raises:
            ValueError: If the tensors are not those of a stream of such a model.
        """
        try:
            structure, constants = json.loads(bytes(named["plan"].tolist()))
            leaves = {**dict(constants), **{int(i): x for i, x in named.items() if i != "plan"}}
            ordered = [leaves[i] for i in range(len(leaves))]
            count, cache, chunk, kept = _pytree.tree_unflatten(ordered, _pytree.treespec_loads(structure))
        except (KeyError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
            raise ValueError(
                f"A saved stream must be what Stream.tensors() wrote, got tensors {sorted(named)} ({error}); "
                f"save the stream again."
            ) from error
        if (kept is None) != (aggregator is None):
            raise ValueError("The saved stream belongs to a model of another kind; resume it with its own.")
        counter = None
        if kept is not None and aggregator is not None:
            number, empty, roots, folds = kept
            counter = Counter(
                aggregator=aggregator,
                count=number,
                empty_prefix=empty,
                roots=tuple(roots),
                folds=tuple(folds),
            )
        return cls(count=count, cache=cache, counter=counter, chunk=chunk)
