"""mLSTM: exponential gates, kept in range by a running maximum that the result does not depend on."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scannable.affine._actions import Scalar
from scannable.affine._heads import GatedOutput, head_width
from scannable.affine._layer import Carry, Layer, Row


class MLSTM(Layer):
    """The matrix LSTM of xLSTM (Beck et al., arXiv 2405.04517, Section 2.3).

    State and normaliser are stored divided by ``exp(m_t)``. With ``m_t = max(log f_t + m_{t-1}, log i_t, 0)`` no gate
    overflows, and since the division cancels in the output, ``m`` needs no gradient and may start anywhere.

    Of the two forget gates of the paper this is the sigmoid. Heads are normalised by RMSNorm, not by LayerNorm.

    Args:
        width: ``D``.
        heads: ``H``.
    """

    row = Row(
        name="mlstm",
        title="mLSTM",
        action=Scalar,
        element="f_t,  f_t = sigmoid(w_f x_t + b_f)",
        shift="i_t k_t v_t^T,  i_t = exp(w_i x_t + b_i)",
        read="S_t^T q_t / max(|n_t^T q_t|, 1),  n_t = f_t n_{t-1} + i_t k_t",
        reference="Beck et al., arXiv 2405.04517, Section 2.3",
    )

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__(width)
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.gates = nn.Linear(width, 2 * heads, bias=False)
        self.bias = nn.Parameter(torch.cat([torch.full((heads,), -2.0), torch.linspace(3, 6, heads)]))
        self.out = GatedOutput(width, heads, head_width(width, heads), F.sigmoid)

    def mix(self, x: Tensor, carry: Carry) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        enter, forget = (self.gates(x).to(carry.wide) + self.bias.to(carry.wide)).chunk(2, -1)
        forget = F.logsigmoid(forget)
        peak, before = carry.peak(forget, enter)
        decay = forget + before - peak
        # The maximum is rounded, so this may be above zero by an ulp; the gradient is not to be cut off there.
        decay = decay - decay.detach().clamp(min=0)
        k = k * (k.shape[-1] ** -0.5 * (enter - peak).exp()[..., None]).to(k.dtype)
        read = carry.recurrence(q, k, F.pad(v, (0, 1), value=1.0), decay=decay)
        value, norm = read[..., :-1], read[..., -1:]
        value = value / torch.maximum(norm.abs(), (-peak).exp()[..., None].to(norm.dtype))
        return self.out(value, x)
