"""What is worth a place in memory where torch.compile would compute it again for everyone who reads it."""

from torch import Tensor


def stored(x: Tensor) -> Tensor:
    """Return the same tensor; compiled code reads it from memory, unless it is to be differentiated.

    Its kernels begin from what is in memory already: an exponential that a hundred pairs of tokens read is computed a
    hundred times, and on a GPU that takes longer than to read it. A view by strides must have a memory to view.
    """
    if x.requires_grad:
        return x
    x = x.contiguous()
    return x.as_strided(x.shape, x.stride())
