"""How wrong predictions are: four figures of a batch, all over the places that are asked.

The authors' S5 curves are ``error_without_last``: their code aligns labels so that the last place of a word is not
scored, and it averages over all others. ``final_error`` is the strictest, since one slip is seldom undone.
"""

from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from scannable.tasks._batch import Batch


def loss(logits: Float[Tensor, "B T V"], batch: Batch) -> Float[Tensor, ""]:
    """Return the mean cross-entropy."""
    targets = batch.targets.masked_fill(~batch.mask, -100)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def token_error(predictions: Int64[Tensor, "B T"], batch: Batch) -> float:
    """Return the fraction of places that are wrong."""
    return _error(predictions, batch, batch.mask)


def final_error(predictions: Int64[Tensor, "B T"], batch: Batch) -> float:
    """Return the fraction of sequences whose last place is wrong."""
    return _error(predictions, batch, _last(batch.mask))


def error_without_last(predictions: Int64[Tensor, "B T"], batch: Batch) -> float:
    """Return the fraction of places that are wrong, the last of each sequence left out, as the authors do."""
    return _error(predictions, batch, batch.mask & ~_last(batch.mask))


def _error(predictions: Tensor, batch: Batch, places: Bool[Tensor, "B T"]) -> float:
    if predictions.shape != batch.targets.shape:
        raise ValueError(
            f"Predictions must have the shape of the targets, {tuple(batch.targets.shape)}, "
            f"got {tuple(predictions.shape)}; take the argmax over the last axis of the logits."
        )
    asked = int(places.sum())
    if asked == 0:
        raise ValueError(
            f"An error rate needs at least one place that is asked, got none in a batch of shape "
            f"{tuple(batch.targets.shape)}; use longer sequences or another mask."
        )
    return int(((predictions != batch.targets) & places).sum()) / asked


def _last(mask: Bool[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
    """Mark the last place of each sequence that is asked."""
    later = mask.flip(1).cumsum(1).flip(1)
    return mask & (later == 1)
