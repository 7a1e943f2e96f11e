"""What all rows of the family have in common: a layer from vectors to vectors that takes and returns a state."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from scannable.affine._actions import Action
from scannable.affine._check import check_mask, check_packed, check_state, check_vectors
from scannable.affine._peak import running_peak
from scannable.affine._recurrence import Implementation, Precision, Read, elementwise, recurrence, state_dtype
from scannable.affine._window import Window, convolve
from scannable.scans._option import check_option


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the family's table ([1] v2, Table 1): ``s_t = E_t |> s_{t-1} + f_t``, and how it is read.

    Formulas are for people. Their states are ``(K, V)``, elementwise ``(D, S)``, and elements act from the left.

    [1] Yau et al., Sequential-Parallel Duality in Prefix-Scannable Models, arXiv 2506.10918.
    """

    name: str
    """What ``AffineLanguageModelConfig.row`` and the command line call it."""
    title: str
    """What its authors call it."""
    action: type[Action]
    """How elements compose and act."""
    element: str
    """``E_t``."""
    shift: str
    """``f_t``."""
    read: str
    """The output of the recurrence."""
    reference: str
    """Where it comes from."""


class RowState(NamedTuple):
    """What a layer keeps of the tokens so far; a value, in float32 (float64 in a float64 model).

    Read under ``torch.no_grad()``, or detach its tensors now and then: else it remembers how to differentiate it all.
    """

    row: str
    """The row that wrote it, which alone can read on."""
    memory: Tensor
    """The recurrence's state, ``(B, H, K, V)`` or, elementwise, ``(B, D, S)``."""
    window: Tensor | None = None
    """The last tokens that a short convolution or a token shift still sees, ``(B, reach, channels)``."""
    peak: Tensor | None = None
    """mLSTM's running maximum, ``(B, H)``."""


class Carry:
    """One call of a layer: it hands the state to the recurrence, and collects what the next call needs.

    Args:
        state: What the call before returned, or None.
        lengths: Of packed sequences, or None.
        wide: The dtype of states.
        implementation: As in ``recurrence``.
        precision: As in ``recurrence``.
    """

    def __init__(
        self,
        state: RowState | None,
        lengths: list[int] | None,
        wide: torch.dtype,
        implementation: Implementation | None,
        precision: Precision,
    ) -> None:
        self.state, self.lengths, self.wide = state, lengths, wide
        self.implementation, self.precision = implementation, precision
        self.found: dict[str, Tensor] = {}

    @property
    def offsets(self) -> list[int] | None:
        """Where packed sequences begin and the last ends."""
        if self.lengths is None:
            return None
        return [0, *accumulate(self.lengths)]

    def recurrence(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        decay: Tensor | None = None,
        erase: Tensor | None = None,
        read: Read = "after",
        steps: int = 1,
    ) -> Tensor:
        """Call ``recurrence`` with this call's state, and keep the one behind it; a token is ``steps`` steps."""
        outputs, self.found["memory"] = recurrence(
            q,
            k,
            v,
            decay=decay,
            erase=erase,
            state=None if self.state is None else self.state.memory,
            read=read,
            offsets=None if self.offsets is None else [steps * offset for offset in self.offsets],
            precision=self.precision,
            implementation=self.implementation,
        )
        return outputs

    def elementwise(self, write: Tensor, decay: Tensor) -> Tensor:
        """Call ``elementwise`` with this call's state, and keep the one behind it."""
        states, self.found["memory"] = elementwise(
            write,
            decay,
            state=None if self.state is None else self.state.memory,
            offsets=self.offsets,
            implementation=self.implementation,
        )
        return states

    def peak(self, fall: Tensor, rise: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``m_t = max(fall_t + m_{t-1}, rise_t, 0)`` and ``m_{t-1}``, both ``(B, T, H)``, without gradient."""
        first = None if self.state is None else self.state.peak
        shape = (fall.shape[0] if self.lengths is None else len(self.lengths), fall.shape[2])
        if first is None:
            first = fall.new_zeros(shape)
        check_state(first, shape, self.wide, fall.device)
        peak, before, self.found["peak"] = running_peak(fall, rise, first, self.lengths)
        return peak, before

    def window(self, x: Tensor, reach: int) -> Window:
        """Return tokens ``(B, T, D)`` with the ``reach`` tokens before each in view, earlier calls included."""
        before = None if self.state is None else self.state.window
        if before is not None:
            sequences = x.shape[0] if self.lengths is None else len(self.lengths)
            check_state(before, (sequences, reach, x.shape[2]), self.wide, x.device)
        window = Window(x, before, self.lengths, reach, self.wide)
        self.found["window"] = window.kept
        return window

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Convolve each channel of ``(B, T, D)`` causally with its taps ``(D, W)``, across calls."""
        return convolve(self.window(x, weight.shape[1] - 1), weight, bias)


class Layer(nn.Module):
    """A layer ``(B, T, D) -> (B, T, D)`` that can be called on any number of tokens, any split giving one result.

    A row derives from it, names its line of the table, and writes ``mix``: gates from ``x``, one call of the
    recurrence through ``carry``, the read-out.

    Args:
        width: ``D``.
    """

    row: ClassVar[Row]
    undecayed: ClassVar[tuple[str, ...]] = ()
    """Parameters of two axes or more that weight decay spares all the same: logarithms of rates, as towards zero is
    towards a rate of one, and vectors that are kept side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def mix(self, x: Float[Tensor, "B T D"], carry: Carry) -> Float[Tensor, "B T D"]:
        """Mix tokens along time; padding never gets here."""
        raise NotImplementedError

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        state: RowState | None = None,
        *,
        offsets: Sequence[int] | Tensor | None = None,
        mask: Bool[Tensor, "B T"] | None = None,
        precision: Precision = "inputs",
        implementation: Implementation | None = None,
    ) -> tuple[Float[Tensor, "B T D"], RowState]:
        """Read ``T >= 0`` more tokens.

        Args:
            x: The tokens.
            state: What the call before returned; nothing was read if left out.
            offsets: For sequences packed end to end in one row (``B = 1``): where each begins, and where the last ends.
                States are then one for each sequence.
            mask: False where there is padding, on either side: it is skipped, and its output is zero.
            precision: As in ``recurrence``.
            implementation: As in ``recurrence``.

        Returns:
            Outputs, and the state behind the tokens.

        Raises:
            TypeError: If a dtype is wrong.
            ValueError: If a shape or an option is wrong, or the state is another row's.
        """
        check_option("precision", precision, get_args(Precision))
        check_option("implementation", implementation, (None, *get_args(Implementation)))
        check_vectors(x, self.width, next(self.parameters(), x).dtype)
        if state is not None and (not isinstance(state, RowState) or state.row != self.row.name):
            got = state.row if isinstance(state, RowState) else type(state).__name__
            raise ValueError(
                f"The state must be one of a {self.row.name!r} layer, got {got!r}; "
                f"pass what this layer returned, or None to begin."
            )
        lengths = None if offsets is None else check_packed(offsets, *x.shape[:2])
        wide = state_dtype(x)
        if mask is None:
            carry = Carry(state, lengths, wide, implementation, precision)
            y = self.mix(x, carry)
        else:
            if offsets is not None:
                raise ValueError("Give offsets or a mask, got both; packed sequences need no padding.")
            check_mask(mask, *x.shape[:2])
            carry = Carry(state, mask.sum(1).tolist(), wide, implementation, precision)
            mixed = self.mix(x[mask][None], carry)[0]
            y = mixed.new_zeros(x.shape).index_put((mask,), mixed)
        after = RowState(row=self.row.name, **carry.found)
        if state is not None and (wanted := _parts(after)) != (got := _parts(state)):
            raise ValueError(
                f"A state of {self.row.name!r} must hold {wanted}, got {got}; pass what this layer returned, whole."
            )
        return y, after


def _parts(state: RowState) -> list[str]:
    return [name for name, part in zip(state._fields, state, strict=True) if isinstance(part, Tensor)]
