"""Elements and actions: what multiplies the state in ``s_t = E_t |> s_{t-1} + f_t``, lifted to pairs that scan.

A pair ``(E, f)`` is the map ``s -> E |> s + f``, and ``combine`` composes two of them ([1] v2, Section 3.1). So an
affine recurrence is a prefix scan of an associative operator, which ``scannable.scan`` and ``scannable.Counter`` run.

[1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918.
"""

from typing import Any

import torch
from torch import Tensor

Element = Any
"""What a state is multiplied with: a tensor, or ``()`` where nothing is."""


class Action:
    """An aggregator of pairs ``(E, f)``, from how elements compose and act.

    All tensors have rows as their first axis. Elements act from the left on states ``(R, ..., K, V)``.
    """

    def compose(self, later: Element, earlier: Element) -> Element:
        """Return the element that acts like ``earlier`` and then ``later``."""
        raise NotImplementedError

    def act(self, element: Element, state: Tensor) -> Tensor:
        """Return ``E |> s``."""
        raise NotImplementedError

    def one(self, like: Element) -> Element:
        """Return the element that changes nothing."""
        return torch.ones_like(like)

    def apply(self, pair: tuple[Element, Tensor], state: Tensor) -> Tensor:
        """Return ``E |> s + f``."""
        element, shift = pair
        return shift + self.act(element, state)

    def combine(self, left: tuple[Element, Tensor], right: tuple[Element, Tensor]) -> tuple[Element, Tensor]:
        """Apply the map of the earlier tokens, then that of the later ones."""
        return self.compose(right[0], left[0]), self.apply(right, left[1])

    def identity(self, like: tuple[Element, Tensor]) -> tuple[Element, Tensor]:
        """Return the map that changes nothing."""
        element, shift = like
        return self.one(element), torch.zeros_like(shift)


class Identity(Action):
    """Nothing is forgotten: ``E |> S = S``; elements are ``()``."""

    def compose(self, later: Element, earlier: Element) -> Element:
        return ()

    def act(self, element: Element, state: Tensor) -> Tensor:
        return state

    def one(self, like: Element) -> Element:
        return ()


class Scalar(Action):
    """One factor a head, ``(R, H)``: ``E |> S = E S``."""

    def compose(self, later: Tensor, earlier: Tensor) -> Tensor:
        return later * earlier

    def act(self, element: Tensor, state: Tensor) -> Tensor:
        return element[..., None, None] * state


class Diagonal(Action):
    """One factor for each row of the state, ``(R, H, K)``: ``E |> S = Diag(E) S``."""

    def compose(self, later: Tensor, earlier: Tensor) -> Tensor:
        return later * earlier

    def act(self, element: Tensor, state: Tensor) -> Tensor:
        return element[..., None] * state


class Dense(Action):
    """Matrices ``(R, H, K, K)``: ``E |> S = E S``. Householder-type factors are such, and so are their products."""

    def compose(self, later: Tensor, earlier: Tensor) -> Tensor:
        return later @ earlier

    def act(self, element: Tensor, state: Tensor) -> Tensor:
        return element @ state

    def one(self, like: Tensor) -> Tensor:
        return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device).expand_as(like)


class Elementwise(Action):
    """A factor for each entry, of the shape of the state: ``E |> S = E * S``."""

    def compose(self, later: Tensor, earlier: Tensor) -> Tensor:
        return later * earlier

    def act(self, element: Tensor, state: Tensor) -> Tensor:
        return element * state


def lift(
    k: Tensor, v: Tensor, decay: Tensor | None, erase: Tensor | None
) -> tuple[Action, tuple[Element, Tensor]]:
    """Write each token of a matrix recurrence as a pair ``(E_t, f_t)``.

    Args:
        k: ``(B, T, H, K)``.
        v: ``(B, T, H, V)``.
        decay: In log space, ``(B, T, H)``, ``(B, T, H, K)``, or None.
        erase: ``(B, T, H)``, or None.

    Returns:
        The action, and leaves for ``scannable.scan``.
    """
    if erase is None:
        shift = k[..., None] * v[..., None, :]
        if decay is None:
            return Identity(), ((), shift)
        return (Scalar() if decay.dim() == 3 else Diagonal()), (decay.exp(), shift)
    erased = erase[..., None] * k
    element = torch.eye(k.shape[-1], dtype=k.dtype, device=k.device) - erased[..., None] * k[..., None, :]
    if decay is not None:
        kept = decay.exp()
        element = element * (kept[..., None, None] if decay.dim() == 3 else kept[..., None, :])
    return Dense(), (element, erased[..., None] * v[..., None, :])
