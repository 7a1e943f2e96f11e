"""Cross-entropy against a large vocabulary without ever keeping its logits: by pieces of rows, gradients at once."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

PIECES = {"cuda": 8192}
"""Rows whose logits are in memory together, by the kind of device: 1.6 GB in float32 with GPT-2's vocabulary."""

PIECE = 128
"""The same on all others: on a CPU the logits of a piece should stay in its caches.

What a piece leaves is written into one tensor: many small ones, made between the logits of one piece and the next, can
keep the memory of the first from being used again.
"""


def linear_cross_entropy(
    x: Float[Tensor, "R D"],
    weight: Float[Tensor, "V D"],
    targets: Int[Tensor, " R"],
    share: Float[Tensor, " R"],
) -> Float[Tensor, ""]:
    """Return the sum over rows of ``share`` times the cross-entropy (nats) of ``x @ weight.T`` at its target.

    The gradients of ``x`` and ``weight`` are made piece by piece in the forward pass, where the logits are at hand, and
    the backward pass only scales them: so no logits are kept, none are made twice, and there are gradients of first
    order only. Under autocast the two products are in its dtype, but those of float64; softmax, loss and sums are in
    float32 or wider.

    Args:
        x: What the head reads.
        weight: The head's matrix.
        targets: One of the ``V`` tokens for each row, any of them where nothing counts.
        share: What each row counts, a constant; zero for a row that counts nothing.

    Raises:
        ValueError: If there is not one target and one share for each row, or a gradient of the shares is asked for.
        NotImplementedError: If a second derivative is asked for.
    """
    if not targets.shape == share.shape == x.shape[:1] or share.requires_grad:
        raise ValueError(
            f"Each of the {len(x)} rows needs a target and a constant share, got {tuple(targets.shape)} targets and "
            f"{tuple(share.shape)} shares{' with a gradient' * share.requires_grad}; cut them alike, and detach shares."
        )
    if torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(x.device.type)
        x, weight = x.to(dtype), weight.to(dtype)
    # Rows of a multiple of 64 numbers are what a GPU's matrix units like.
    padding = -len(weight) % 64 if x.is_cuda else 0
    padded = F.pad(weight, (0, 0, 0, padding))
    learning = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    with torch.autocast(x.device.type, enabled=False):
        return _InPieces.apply(x, padded, targets, share, len(weight), learning)


# The compiler, free to choose, makes the logits of all pieces before it sums the first loss. Uncompiled code keeps its
# order, and with few tokens to choose from would be slower by the call.
@torch.library.custom_op("scannable::following", mutates_args=())
def following(x: Tensor, earlier: Sequence[Tensor]) -> Tensor:
    """Return a copy of ``x`` that is not made before ``earlier`` tensors are."""
    return x.clone()


@following.register_fake
def _following(x: Tensor, earlier: Sequence[Tensor]) -> Tensor:
    return torch.empty_like(x)


class _InPieces(torch.autograd.Function):
    """The sum of losses, and its gradients, which come with it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, share: Tensor, vocabulary: int, learning: bool
    ) -> Tensor:
        wide = torch.float64 if x.dtype == torch.float64 else torch.float32
        total = x.new_zeros((), dtype=wide)
        of_weight, of_x = torch.zeros_like(weight, dtype=wide), torch.zeros_like(x)
        # In float16 what belongs to one row of many would underflow, so it is scaled only behind the products.
        unit = (
            share.to(wide).abs().amax().clamp_min(torch.finfo(wide).tiny)
            if len(share)
            else x.new_ones((), dtype=wide)
        )
        tokens = torch.arange(len(weight), device=x.device)
        piece = PIECES.get(x.device.type, PIECE)
        for start in range(0, len(x), piece):
            rows = slice(start, start + piece)
            read = x[rows]
            if torch.compiler.is_compiling():
                read = following(read, [total, of_weight])
            logits = (read @ weight.T).to(wide)
            if len(weight) > vocabulary:
                logits = torch.where(tokens < vocabulary, logits, -torch.inf)
            part, target = share[rows].to(wide)[:, None], targets[rows, None]
            norm = logits.logsumexp(1, keepdim=True)
            total = total + (part * (norm - logits.gather(1, target))).sum()
            if learning:
                error = (part / unit * ((logits - norm).exp() - (tokens == target).to(wide))).to(x.dtype)
                of_x[rows] = error @ weight
                of_weight = of_weight + (error.T @ read).to(wide)
        if learning:
            # Sums over all rows may be beyond float16 until they are scaled.
            ctx.save_for_backward(of_x, of_weight, unit)
        return total

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # pyrefly: ignore
        if torch.is_grad_enabled():
            raise NotImplementedError(
                "This cross-entropy has gradients of first order only, got a call for more; use F.cross_entropy there."
            )
        *gradients, unit = ctx.saved_tensors
        scale, dtype = upstream.to(unit.dtype) * unit, gradients[0].dtype
        of_x, of_weight = ((scale * x.to(unit.dtype)).to(dtype) for x in gradients)
        return of_x, of_weight, None, None, None, None


def token_losses(
    x: Float[Tensor, "R D"], weight: Float[Tensor, "V D"], targets: Int[Tensor, " R"]
) -> Float[Tensor, " R"]:
    """Return the cross-entropy (nats, at least float32) of every row, by pieces; for evaluation, without gradients."""
    piece = PIECES.get(x.device.type, PIECE)
    losses = x.new_empty(len(x), dtype=torch.promote_types(x.dtype, torch.float32))
    with torch.no_grad():
        for start in range(0, len(x), piece):
            rows = slice(start, start + piece)
            logits = F.linear(x[rows], weight).to(losses.dtype)
            losses[rows] = F.cross_entropy(logits, targets[rows], reduction="none")
    return losses
