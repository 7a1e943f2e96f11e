"""The public scan: all prefix states of a sequence, in any of three implementations."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from scannable.scans import reference
from scannable.scans._aggregator import Aggregator, State
from scannable.scans._blocks import block_scan
from scannable.scans._counter import Counter
from scannable.scans._option import check_option
from scannable.scans._packed import check_offsets, packed_scan
from scannable.scans._sweep import sweep
from scannable.scans._tree import (
    Merge,
    check_aggregator,
    check_leaves,
    flatten,
    identity_of,
    tree_map,
    unflatten,
)

Implementation = Literal["parallel", "counter", "reference"]


def scan(
    aggregator: Aggregator,
    leaves: State,
    *,
    inclusive: bool = False,
    implementation: Implementation = "parallel",
    recompute: bool | int = False,
    offsets: Sequence[int] | Tensor | None = None,
) -> State:
    """Return the prefix states of a sequence of leaves; ``combine`` need not be associative.

    The bracketing is that of ``scans.reference``: perfect trees named by the binary digits of the
    prefix's length, folded from left to right. All implementations make the same merges.

    Args:
        aggregator: The operator; see ``Aggregator``.
        leaves: A tensor or a pytree of tensors ``(B, N, ...)``; any ``N``, 0 and 1 included.
        inclusive: Whether place ``i`` has seen leaf ``i``. If not, it holds the state of the ``i``
            leaves before it, and place 0 the identity.
        implementation: ``"parallel"``: one batched ``combine`` a level up and down, at most
            ``2 log2 N``; ``"counter"``: the streaming form, leaf by leaf; ``"reference"``: the definition.
        recompute: Keep less for the backward pass and run ``combine`` again there; only for
            ``"parallel"``. True: keep the operands of each level. A whole number: go through blocks of
            that many leaves one after another, with only a counter between them, and go through each
            again in the backward pass; the same merges in at most ``2 log2 N`` calls a block, the
            memory of one block beside leaves, states and gradients, and gradients of first order only.
        offsets: For sequences packed end to end in one row (``B = 1``): where each begins, and where the
            last ends, such as ``[0, 3, 3, 10]``. No state crosses a boundary.

    Returns:
        States of the same form as ``leaves``, ``(B, N, ...)``.

    Raises:
        TypeError: If ``leaves`` holds something other than tensors.
        ValueError: If the leaves, a merged state, or an option break the rules above.
    """
    check_option("implementation", implementation, get_args(Implementation))
    if recompute and implementation != "parallel":
        raise ValueError(
            f"recompute needs implementation='parallel', got {implementation!r}; "
            f"leave recompute out, the other forms keep what autograd asks for."
        )
    in_blocks = not isinstance(recompute, bool)
    if in_blocks and (not isinstance(recompute, int) or recompute < 1):
        raise ValueError(
            f"recompute must be True, False, or the leaves of a block, a whole number of at least 1, "
            f"got {recompute!r}; True recomputes level by level."
        )
    if in_blocks and offsets is not None:
        raise ValueError(
            f"Packed sequences cannot go in blocks, got recompute={recompute} with offsets; "
            f"take recompute=True, or scan each sequence by itself."
        )
    check_aggregator(aggregator)
    tensors, structure = check_leaves(leaves)
    batch, length = tensors[0].shape[:2]
    if offsets is None:
        lengths = None
    elif batch == 1:
        lengths = check_offsets(offsets, length)
    else:
        raise ValueError(
            f"Packed sequences need leaves of shape (1, sum of N, ...), got a batch of {batch}; "
            f"join the rows along axis 1."
        )
    if length == 0:
        return leaves
    if in_blocks:
        return block_scan(aggregator, tensors, structure, recompute, inclusive=inclusive)
    if implementation == "parallel":
        merge = Merge(aggregator, structure, recompute=recompute)
        identity = [x[:, None] for x in identity_of(aggregator, [x[:, 0] for x in tensors], structure)]
        if lengths is not None:
            found = packed_scan(merge, tensors, identity, lengths, inclusive=inclusive)
        else:
            read = tensors if inclusive else [x[:, :-1] for x in tensors]
            found, _ = sweep(merge, read, 0, [], [identity], inclusive=inclusive)
        return unflatten(found, structure)
    form = _counter if implementation == "counter" else _reference
    rows = zip(*(x.split(lengths or [length], 1) for x in tensors), strict=True)
    states: list[State] = []
    for row in rows:
        if row[0].shape[1]:
            states += form(aggregator, unflatten(list(row), structure), inclusive)
    return tree_map(lambda *x: torch.stack(x, 1), *states)


def _counter(aggregator: Aggregator, leaves: State, inclusive: bool) -> list[State]:
    singles = _singles(leaves)
    counter = Counter.empty(aggregator, singles[0])
    states = []
    for leaf in singles:
        after = counter.push(leaf)
        states.append((after if inclusive else counter).prefix)
        counter = after
    return states


def _reference(aggregator: Aggregator, leaves: State, inclusive: bool) -> list[State]:
    counts = range(inclusive, flatten(leaves)[0][0].shape[1] + inclusive)
    return [reference.prefix_state(aggregator, leaves, count) for count in counts]


def _singles(leaves: State) -> list[State]:
    tensors, structure = flatten(leaves)
    return [unflatten(list(x), structure) for x in zip(*(x.unbind(1) for x in tensors), strict=True)]
