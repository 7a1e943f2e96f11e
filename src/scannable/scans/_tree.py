"""States as pytrees: how the scans take them apart, and where states are checked."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree
from torch.utils._pytree import tree_map

from scannable.scans._aggregator import Aggregator, State

Tensors = list[Tensor]
"""A state taken apart: its tensors in the order of the pytree."""


def along(state: State, index: int | slice) -> State:
    """Index every tensor along the sequence, axis 1."""
    return tree_map(lambda x: x[:, index], state)


# The commonest structures, a tensor and a short tuple of tensors, need no walk through the pytree.
_ALONE = _pytree.tree_structure(0)
_TUPLES = [_pytree.tree_structure((0,) * count) for count in range(5)]


def flatten(state: State) -> tuple[Tensors, Any]:
    """Take a state apart into its tensors and its structure."""
    if isinstance(state, Tensor):
        return [state], _ALONE
    if type(state) is tuple and 0 < len(state) < len(_TUPLES) and all(isinstance(x, Tensor) for x in state):
        return list(state), _TUPLES[len(state)]
    tensors, structure = _pytree.tree_flatten(state)
    if not tensors or not all(isinstance(x, Tensor) for x in tensors):
        kinds = sorted({type(x).__name__ for x in tensors}) or "nothing"
        raise TypeError(
            f"A state must be a tensor or a pytree of tensors, got one that holds {kinds}; "
            f"keep settings in the aggregator and only tensors in its states."
        )
    return tensors, structure


def unflatten(tensors: Tensors, structure: Any) -> State:
    """Put a state together again."""
    if structure is _ALONE:
        return tensors[0]
    if len(tensors) < len(_TUPLES) and structure is _TUPLES[len(tensors)]:
        return tuple(tensors)
    return _pytree.tree_unflatten(tensors, structure)


def check_aggregator(aggregator: Any) -> None:
    """Refuse what cannot merge.

    Raises:
        TypeError: If it lacks ``combine`` or ``identity``, or is a class.
    """
    if isinstance(aggregator, type):
        raise TypeError(
            f"An aggregator must be an object, got the class {aggregator.__name__}; call it first."
        )
    if not isinstance(aggregator, Aggregator):
        raise TypeError(
            f"An aggregator must have combine(left, right) and identity(like), got {type(aggregator).__name__}; "
            f"add what is missing."
        )


def form(tensors: Tensors) -> list[str]:
    """Describe tensors for an error message: dtype, shape and device of each."""
    return [f"{x.dtype} {tuple(x.shape)} on {x.device}".removeprefix("torch.") for x in tensors]


def check_leaves(leaves: State) -> tuple[Tensors, Any]:
    """Take ``(B, N, ...)`` leaves apart, or say what is wrong with them."""
    tensors, structure = flatten(leaves)
    shapes = [tuple(x.shape) for x in tensors]
    if any(len(shape) < 2 for shape in shapes) or len({shape[:2] for shape in shapes}) > 1:
        raise ValueError(
            f"Leaves must have shape (B, N, ...) with one B and one N for all tensors of the state, "
            f"got {shapes}; put batch first and the sequence second."
        )
    if shapes[0][0] == 0:
        raise ValueError(
            f"Leaves need a batch of at least one sequence, got shape {shapes[0]}; skip empty batches."
        )
    if len({x.device for x in tensors}) > 1:
        raise ValueError(
            f"All tensors of a state must be on one device, got {form(tensors)}; move them with .to()."
        )
    return tensors, structure


def check_alike(what: str, got: State, tensors: Tensors, structure: Any, cure: str) -> Tensors:
    """Take ``got`` apart if it has the form of the given state, or say how it differs."""
    found, found_structure = flatten(got)
    if found_structure is not structure and found_structure != structure:
        found = _in_order(got, structure)
    if found is None:
        raise ValueError(f"{what} must have the structure {structure}, got {found_structure}; {cure}.")
    for x, y in zip(found, tensors, strict=True):
        if x.shape != y.shape or x.dtype != y.dtype or x.device != y.device:
            raise ValueError(f"{what} must be {form(tensors)}, got {form(found)}; {cure}.")
    return found


def _in_order(got: State, structure: Any) -> Tensors | None:
    """Take a state apart whose dicts hold the same keys in another order, or return None."""
    try:
        found = structure.flatten_up_to(got)
    except ValueError:
        return None
    return found if all(isinstance(x, Tensor) for x in found) else None


def arranged(state: State, like: State) -> State:
    """Put the keys of a state's dicts in the order of another's; leave what has another structure as it is."""
    structure = flatten(like)[1]
    tensors = _in_order(state, structure)
    return state if tensors is None else unflatten(tensors, structure)


class Merge:
    """One batched call of ``combine`` on ``(B, n, ...)`` operands, folded to rows and checked.

    Args:
        aggregator: The operator.
        structure: The structure of its states.
        recompute: Keep only the operands for the backward pass and run ``combine`` again there.
    """

    def __init__(self, aggregator: Aggregator, structure: Any, *, recompute: bool = False) -> None:
        self.aggregator = aggregator
        self.structure = structure
        self.recompute = recompute

    def __call__(self, left: Tensors, right: Tensors) -> Tensors:
        """Merge ``n`` pairs for each of ``B`` sequences."""
        if self.recompute and torch.is_grad_enabled():
            return torch.utils.checkpoint.checkpoint(self._call, left, right, use_reentrant=False)
        return self._call(left, right)

    def _call(self, left: Tensors, right: Tensors) -> Tensors:
        batch = left[0].shape[:2]
        rows = [x.flatten(0, 1) for x in left]
        merged = self.aggregator.combine(
            unflatten(rows, self.structure),
            unflatten([x.flatten(0, 1) for x in right], self.structure),
        )
        cure = (
            "combine must return a state like `left`, row for row; under autocast, end with .to(left.dtype)"
        )
        found = check_alike("A merged state", merged, rows, self.structure, cure)
        return [x.view(*batch, *x.shape[1:]) for x in found]


def identity_of(aggregator: Aggregator, like: Tensors, structure: Any) -> Tensors:
    """Return the empty prefix for states like ``like`` of shape ``(B, ...)``, checked."""
    empty = aggregator.identity(unflatten(like, structure))
    return check_alike("The identity", empty, like, structure, "identity must return a state like `like`")
