"""Derivatives of higher order, for functions whose first derivative is written out."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def differentiate(
    run: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor | None], cotangents: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return gradients that can be differentiated again: those of ``run``, operation by operation.

    Args:
        run: What the function computes, in operations that autograd knows.
        inputs: Its arguments, None where one was left out.
        cotangents: Of its results.
    """
    # Views tell equal arguments apart.
    given = [None if x is None else x.view_as(x) for x in inputs]
    found = [x for x in zip(run(*given), cotangents, strict=True) if x[0].requires_grad]
    wanted = [x for x in given if x is not None and x.requires_grad]
    outputs, of = zip(*found, strict=True)
    grads = torch.autograd.grad(
        outputs, wanted, of, create_graph=True, allow_unused=True, materialize_grads=True
    )
    of_input = dict(zip(wanted, grads, strict=True))
    return [None if x is None else of_input.get(x) for x in given]
