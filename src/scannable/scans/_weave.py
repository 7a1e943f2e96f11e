"""Cut, join and interleave sequences along axis 1, each in few native operations and few copies.

Every function takes and returns states taken apart, and its backward pass is one of the others: a cut
is undone by a join and an interleaving by a view, where slices would each fill a whole gradient with zeros.
"""

from collections.abc import Sequence

import torch

from scannable.scans._tree import Tensors


def split(tensors: Tensors, at: int) -> list[Tensors]:
    """Cut ``(B, n, ...)`` in two before place ``at``; unlike slices, both share one backward pass."""
    sizes = [at, tensors[0].shape[1] - at]
    first, then = zip(*(torch.split_with_sizes(x, sizes, 1) for x in tensors), strict=True)
    return [list(first), list(then)]


def join(pieces: Sequence[Tensors]) -> Tensors:
    """Put pieces behind one another; a single piece is returned as it is."""
    if len(pieces) == 1:
        return pieces[0]
    return [torch.cat(tensors, 1) for tensors in zip(*pieces, strict=True)]


def weave(evens: Tensors, odds: Tensors) -> Tensors:
    """Interleave sequences of one length, ``evens`` to places 0, 2, ... and ``odds`` to 1, 3, ..."""
    return [torch.stack(pair, 2).flatten(1, 2) for pair in zip(evens, odds, strict=True)]


def unweave(tensors: Tensors) -> list[Tensors]:
    """Undo ``weave``: views of the even and of the odd places of ``(B, 2 n, ...)``."""
    pairs = [x.view(x.shape[0], x.shape[1] // 2, 2, *x.shape[2:]).unbind(2) for x in tensors]
    evens, odds = zip(*pairs, strict=True)
    return [list(evens), list(odds)]
