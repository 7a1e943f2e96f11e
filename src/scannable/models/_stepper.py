"""Steps in place: a text is read on token by token at a constant cost, without copies and, on a GPU, by graphs."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scannable.affine import RowState
from scannable.models._head import Head
from scannable.models._stepper_base import Stepper
from scannable.models._stepper_chunks import ChunkStepper
from scannable.models._stepper_graph import Programs
from scannable.models._stepper_states import StateStepper
from scannable.models._stepper_window import WindowStepper
from scannable.models._stream import Stream
from scannable.modules import CrossInference, Transformer, TransformerInference


class ValueStepper(Stepper):
    """Steps of the value form, for models whose stream grows with every token or is of a kind not known here."""

    def __init__(self, model: Any, stream: Any) -> None:
        self._model, self._stream = model, stream

    @property
    def nbytes(self) -> int:
        return self._stream.nbytes

    @torch.no_grad()
    def step(self, token: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        logits, self._stream = self._model.step(self._stream, token)
        return logits

    def load(self, stream: Stream) -> None:
        self._stream = stream

    def stream(self) -> Stream:
        return self._stream


def stepper(model: Any, stream: Any, *, graphs: bool | None = None, compile: bool = False) -> Stepper:
    """Read on from a stream in place; the stream itself stays as it is.

    A Transformer-PSM, a decoder with a window and an affine model need memory once, and no more however long the text
    (a PSM two states more each time its chunks double). A decoder without a window takes steps of the value form.
    Cast the model first, with ``model.bfloat16()``: its weights are read as they are, and must stay where they are.

    Args:
        model: A language model, in evaluation mode.
        stream: What it read so far.
        graphs: Capture the work of a step in CUDA graphs; left out: on a CUDA device.
        compile: Fuse it with ``torch.compile`` first, which takes about a minute and repays after many tokens.

    Raises:
        ValueError: If the stream is another model's, or graphs are asked for where there are none.
    """
    make = _kind(model, stream)
    if make is None:
        return ValueStepper(model, stream)
    device = next(model.parameters()).device
    graphs = device.type == "cuda" if graphs is None else graphs
    return make(model, stream, Programs(device, graphs=graphs), compile=compile)


def _kind(model: Any, stream: Any) -> Any:
    """Return the stepper that knows such a model, if any; they cast nothing, so none works under autocast."""
    if not isinstance(stream, Stream) or torch.is_autocast_enabled(next(model.parameters()).device.type):
        return None
    # What somebody has derived from a part of ours may do something else.
    if type(getattr(model, "inference", None)) in (TransformerInference, CrossInference):
        known = (
            model.encoder is model.inference.embed and model.token_shape == () and type(model.head) is Head
        )
        return ChunkStepper if known else None
    stack = getattr(model, "stack", None)
    if type(stack) is Transformer and type(model.head) is Head:
        return None if stack.window is None else WindowStepper
    states = stream.cache if hasattr(model, "blocks") and isinstance(stream.cache, tuple) else ()
    return StateStepper if states and all(isinstance(state, RowState) for state in states) else None
