"""The selective scan, which S6 and Mamba share."""

import torch
from jaxtyping import Float
from torch import Tensor

from scannable.affine._layer import Carry


def selective(
    u: Float[Tensor, "B T D"],
    delta: Float[Tensor, "B T D"],
    A: Float[Tensor, "D S"],
    B: Float[Tensor, "B T S"],
    C: Float[Tensor, "B T S"],
    carry: Carry,
) -> Float[Tensor, "B T D"]:
    """Run ``s_t = exp(delta_t A) * s_{t-1} + (delta_t * u_t) B_t^T``, ``y_t = s_t C_t``, with states ``(D, S)``.

    This is Algorithm 2 of Gu and Dao, arXiv 2312.00752, as in the authors' code: of the two zero-order holds of their
    Equation 4 that of ``A`` is exact, and that of ``B`` is taken to first order in ``delta``.

    Args:
        u: Inputs.
        delta: Time steps, at least zero, in ``carry.wide``.
        A: Rates, at most zero, in ``carry.wide``.
        B: How an input enters the state.
        C: How the state is read.
        carry: The call's state.

    Returns:
        Outputs, in the dtype of ``u``.
    """
    write = (delta * u)[..., None] * B[..., None, :].to(carry.wide)
    states = carry.elementwise(write, delta[..., None] * A)
    with torch.autocast(u.device.type, enabled=False):
        return (states @ C[..., None].to(carry.wide)).squeeze(-1).to(u.dtype)
