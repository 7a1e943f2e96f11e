"""The family at a small memory task: what each layer's own pairs are, what the scan makes of them, what is answered."""

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from scannable.affine import Elementwise, Row, family, lifted
from scannable.scans import scan
from scannable.viewer.family._layers import LAYERS
from scannable.viewer.family._weights import STORY, Setting

KINDS = ("identity", "scalar", "diagonal", "projector", "dense")
"""What an element can be, the special before the general."""
TABLE = 11
"""So many rows stand for the ten of the paper's table, as ``family`` says, which has them first."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One row at the task; ``T`` tokens, ``K`` channels of keys or slots, 4 letters.

    Attributes:
        row: Its line of the table.
        note: What its own gate is, and what it is set to.
        listed: Whether it is in the paper's table.
        entrywise: Whether an element is a factor for each entry of the memory, and not a matrix.
        elements: ``E_t``, ``(T, K, K)``, or entry by entry ``(T, K, 4)``.
        shifts: ``f_t``, ``(T, K, 4)``, or 5 where the last column is a normaliser.
        states: ``s_t``, of the same shape.
        answers: What is read after each token with each of the three keys, ``(T, 3, 4)``.
        kinds: What each element is, one of ``KINDS``.
    """

    row: Row
    note: str
    listed: bool
    entrywise: bool
    elements: Tensor
    shifts: Tensor
    states: Tensor
    answers: Tensor
    kinds: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The most general of the kinds."""
        return max(self.kinds, key=KINDS.index)


def examples() -> list[Example]:
    """Run every row that has weights for it; draws no random number that anybody else would have drawn."""
    return [example(row, place < TABLE) for place, row in enumerate(family()) if row.name in LAYERS]


@torch.no_grad()
def example(row: Row, listed: bool) -> Example:
    """Run one row."""
    with torch.random.fork_rng(devices=[]):
        setting = LAYERS[row.name]()
    action, (element, shift) = lifted(setting.layer, letters(setting.layer.width))
    if (factors := shift.shape[1] // len(STORY)) > 1:
        steps = [(element[:, step::factors], shift[:, step::factors]) for step in range(factors)]
        element, shift = reduce(action.combine, steps)
    state = scan(action, (element, shift), inclusive=True)[1]
    entrywise = isinstance(action, Elementwise)
    if entrywise:
        elements, shifts, states = (part[0].mT for part in (element, shift, state))
    else:
        shifts, states = shift[0, :, 0], state[0, :, 0]
        unit = torch.eye(states.shape[1], dtype=states.dtype).expand(len(states), -1, -1)
        elements = action.act(element if isinstance(element, tuple) else element[0, :, 0], unit)
    return Example(
        row=row,
        note=setting.note,
        listed=listed,
        entrywise=entrywise,
        elements=elements,
        shifts=shifts,
        states=states,
        answers=_answers(setting, states),
        kinds=tuple(kind(element, entrywise=entrywise) for element in elements),
    )


def letters(width: int) -> Tensor:
    """Return the tokens of the story, ``(1, T, width)``: one feature is set, and if there is a fifth it means rest."""
    x = torch.zeros(1, len(STORY), width, dtype=torch.float64)
    for place, write in enumerate(STORY):
        if write is not None or width > 4:
            x[0, place, 4 if write is None else "abcd".index(write[0])] = 1
    return x


def kind(element: Tensor, *, entrywise: bool) -> str:
    """Say what an element is, from its numbers, to 0.001.

    Args:
        element: A matrix, or factors for each entry.
        entrywise: Which of the two.
    """
    factors = element.flatten() if entrywise else element.diagonal()
    if entrywise or _close(element, factors.diag()):
        if _close(factors, torch.ones_like(factors)):
            return "identity"
        return "scalar" if _close(factors, factors[0]) else "diagonal"
    return "projector" if _close(element, element.mT) and _close(element, element @ element) else "dense"


def _close(one: Tensor, other: Tensor) -> bool:
    return bool(((one - other).abs() < 1e-3).all())


def _answers(setting: Setting, states: Tensor) -> Tensor:
    read = setting.queries @ states
    if setting.floor is None:
        return read
    return read[..., :4] / read[..., 4:].abs().clamp(min=setting.floor)
