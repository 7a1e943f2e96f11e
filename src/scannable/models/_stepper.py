"""Steps in place: a text is read on token by token at a constant cost, without copies and, on a GPU, by graphs."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scannable.affine import Layer
from scannable.models._head import Head
from scannable.models._stepper_base import Stepper, check_stream
from scannable.models._stepper_chunks import ChunkStepper
from scannable.models._stepper_graph import Programs
from scannable.models._stepper_slots import readable, untouched
from scannable.models._stepper_states import StateStepper
from scannable.models._stepper_window import WindowStepper
from scannable.models._stream import Stream
from scannable.modules import CrossInference, Transformer, TransformerInference

OURS = __name__.rpartition(".")[0]
"""Where the models are whose ``prefill`` is known here."""


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
        if isinstance(self._stream, Stream):
            check_stream(stream, owner=self._stream.owner, batch=self._stream.batch)
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
        TypeError: If it is no stream.
        ValueError: If the stream is another model's, or graphs are asked for where there are none.
    """
    ours = _reads_as_ours(model)
    if ours:
        check_stream(stream, owner=model._mark)
    make = _kind(model) if ours and not _drops(model) else None
    if make is None:
        if graphs:
            raise ValueError(
                f"CUDA graphs capture steps in place, got graphs=True for {type(model).__name__}, whose steps are "
                f"those of the value form; leave graphs out."
            )
        return ValueStepper(model, stream)
    device = next(model.parameters()).device
    # What is written in place must not depend on the mode in which it was made.
    with torch.inference_mode(mode=False), torch.no_grad():
        return make(model, stream, Programs(device, graphs=graphs), compile=compile)


def _reads_as_ours(model: Any) -> bool:
    """Tell whether a model reads with methods of ours; those that somebody has put in may do something else."""
    names = {"prefill", "step"}
    methods = [getattr(type(model), name, None) for name in names]
    ours = all(getattr(method, "__module__", "").startswith(OURS) for method in methods)
    return ours and not names & vars(model).keys()


def _drops(model: nn.Module) -> bool:
    """Tell whether a model drops activations as it is now, which only its own steps do."""
    return any(part.training and part.p > 0 for part in model.modules() if isinstance(part, nn.Dropout))


def _kind(model: Any) -> Any:
    """Return the stepper that knows a model of ours, if any; they cast nothing, so none works under autocast."""
    if torch.is_autocast_enabled(next(model.parameters()).device.type):
        return None
    if isinstance(blocks := getattr(model, "blocks", None), nn.ModuleList):
        return StateStepper if all(isinstance(block.layer, Layer) for block in blocks) else None
    inference = getattr(model, "inference", None)
    stack = getattr(model if inference is None else inference, "stack", None)
    # Parts or hooks of somebody else's may do something else too.
    if type(stack) is not Transformer or type(model.head) is not Head:
        return None
    if not (readable(stack) and untouched(model.head)):
        return None
    if inference is None:
        return None if stack.window is None else WindowStepper
    known = type(inference) in (TransformerInference, CrossInference) and untouched(inference)
    return ChunkStepper if known and model.encoder is inference.embed and model.token_shape == () else None
