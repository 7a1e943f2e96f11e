"""The layers of the family with weights set by hand, so that each does what it can at the small memory task."""

import math
from collections.abc import Callable

import torch

from scannable import affine
from scannable.viewer.family._erasing import deltanet, deltaproduct, gated_deltanet, kda
from scannable.viewer.family._weights import (
    CHANNELS,
    FAR,
    GATE,
    KEEP,
    LETTERS,
    NONE,
    TIED,
    WRITTEN,
    Setting,
    before_silu,
    before_softplus,
    fill,
)


def _linear_attention() -> Setting:
    layer = affine.LinearAttention(4, 1, feature_map="identity", normalised=False).double()
    fill(layer, "qkv.weight", [NONE, WRITTEN, LETTERS])
    return Setting(layer=layer, note="No gate. Here phi changes nothing, and answers are not divided by z.")


def _retnet() -> Setting:
    layer = affine.RetNet(4, 1, value_share=1.0).double()
    fill(layer, "qk.weight", [NONE, WRITTEN / layer.scale])
    fill(layer, "v.weight", LETTERS)
    return Setting(layer=layer, note="Its gate is fixed, here 1 - 2^(-5): no token can open or close it.")


def _mamba2() -> Setting:
    layer = affine.Mamba2(4, 1, state=4, expand=1.0, taps=1).double()
    step = -TIED.log()
    fill(
        layer,
        "in_proj.weight",
        [
            NONE,
            before_silu(4 * LETTERS / step),
            before_silu(WRITTEN / 4),
            NONE,
            before_softplus(step)[None] + FAR,
        ],
    )
    fill(layer, "conv1d.weight", 1.0)
    fill(layer, "conv1d.bias", 0.0)
    fill(layer, "dt_bias", -FAR)
    fill(layer, "A_log", 0.0)
    return Setting(
        layer=layer,
        note=f"delta_t writes and forgets at once: E_t is 0.9 with a, b and c, {KEEP} with d, 1 at rest. "
        f"The convolution sees the token alone; u_t makes up for delta_t.",
    )


def _mlstm() -> Setting:
    layer = affine.MLSTM(4, 1).double()
    fill(layer, "qkv.weight", [NONE, 2 * WRITTEN, LETTERS])
    fill(layer, "gates.weight", torch.stack([NONE[0], GATE.logit(1e-16) - FAR]))
    fill(layer, "bias", torch.tensor([0, FAR]))
    return Setting(
        layer=layer,
        note=f"f_t is {KEEP} with d and 1 elsewhere, i_t is 1. The last column is n_t.",
        floor=1.0,
    )


def _gated_rfa() -> Setting:
    layer = affine.GatedRFA(4, 1, projections=2).double()
    raw = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    fill(layer, "qkv.weight", [NONE, 100 * raw, LETTERS])
    fill(layer, "projections", math.pi / 2 * torch.tensor([[1.0, 1], [1, -1], [0, 0], [0, 0]]))
    gate = torch.tensor([0.5, 0.5, 0.5, KEEP], dtype=torch.float64)
    fill(layer, "decay.weight", gate.logit()[None] - FAR)
    fill(layer, "bias", FAR)
    return Setting(
        layer=layer,
        note=f"It writes what its gate lets go, 1 - g_t: g_t is 0.5 with a, b and c, {KEEP} with d, 1 at rest. Answers "
        f"are divided by the last column, z_t, which undoes the fading. The keys are its sines and cosines.",
        floor=1e-4,
    )


def _s4() -> Setting:
    layer = affine.S4(4, 4).double()
    fill(layer, "log_step", math.log(0.25))
    fresh = (1 - layer.A_log.exp().mul(-0.25).exp()) / layer.A_log.exp()
    fill(layer, "C", 1 / fresh.sum(-1, keepdim=True))
    return Setting(
        layer=layer,
        note="No gate and no keys: every slot fades at its own fixed pace, every token is written to all slots, and "
        "whatever is asked, the answer is the same. Only when matters, not where.",
        queries=layer.C[:3].detach(),
    )


def _s6() -> Setting:
    layer = affine.S6(4, 4, rank=1).double()
    _select(layer)
    return Setting(
        layer=layer,
        note=f"B_t is the key, C_t asks. delta_t writes and forgets at once, and slot n fades n times as fast: with d "
        f"the slots keep {', '.join(f'{KEEP**n:.2g}' for n in range(1, 5))}. At rest delta_t is 0.",
    )


def _mamba() -> Setting:
    layer = affine.Mamba(4, 4, expand=1.0, taps=1, rank=1).double()
    fill(layer, "in_proj.weight", [before_silu(LETTERS), NONE])
    fill(layer, "conv1d.weight", 1.0)
    fill(layer, "conv1d.bias", 0.0)
    _select(layer.ssm)
    return Setting(
        layer=layer, note="The recurrence of S6, and set like it. The convolution sees the token alone."
    )


def _gla() -> Setting:
    layer = affine.GLA(4, 1, key_share=1.0, rank=4).double()
    fill(layer, "qk.weight", [NONE, WRITTEN])
    fill(layer, "v.weight", LETTERS)
    fill(layer, "decay.0.weight", LETTERS)
    fill(layer, "decay.1.weight", (CHANNELS**layer.slowness).logit(1e-16) - FAR)
    fill(layer, "decay.1.bias", FAR)
    return Setting(layer=layer, note=f"With d the two channels of key 1 keep {KEEP}. All else is kept.")


def _rwkv6() -> Setting:
    layer = affine.RWKV6(4, 1, rank=1, decay_rank=4).double()
    fill(layer, "share", 0.0)
    fill(layer, "share_out", 0.0)
    fill(layer, "qkvg.1.weight", WRITTEN)
    fill(layer, "qkvg.2.weight", LETTERS)
    fill(layer, "decay.0.weight", FAR * LETTERS)
    fill(layer, "decay.2.weight", (-CHANNELS.log()).log().clamp(min=-FAR) + FAR)
    fill(layer, "pace", -FAR)
    return Setting(
        layer=layer,
        note=f"With d the two channels of key 1 keep {KEEP}; no token mixes in the one before it.",
    )


def _hgrn2() -> Setting:
    layer = affine.HGRN2(8, 2).double()
    keep = torch.cat([1 - WRITTEN.clamp(min=0), torch.ones(4, 4)], 1).logit().clamp(max=FAR)
    fill(layer, "forget.weight", torch.cat([keep, keep]))
    fill(layer, "qv.weight", torch.eye(8).repeat(2, 1))
    fill(layer, "bound", -FAR)
    return Setting(
        layer=layer,
        note="Its key is what its gate lets go, 1 - a_t: every channel forgets as it writes, and no key is negative. "
        "So key 2 is cut to its positive part, which lies inside key 1.",
    )


LAYERS: dict[str, Callable[[], Setting]] = {
    "linear-attention": _linear_attention,
    "deltanet": deltanet,
    "gated-deltanet": gated_deltanet,
    "retnet": _retnet,
    "mamba2": _mamba2,
    "mlstm": _mlstm,
    "gated-rfa": _gated_rfa,
    "s4": _s4,
    "s6": _s6,
    "mamba": _mamba,
    "gla": _gla,
    "rwkv6": _rwkv6,
    "hgrn2": _hgrn2,
    "kda": kda,
    "deltaproduct": deltaproduct,
}
"""By name of the row."""


def _select(layer: affine.S6) -> None:
    """Set what S6 and Mamba have in common: one step for all channels, since no token knows what was written."""
    step = -TIED.log()
    fill(layer, "x_proj.weight", [before_softplus(step)[None] + FAR, WRITTEN / step, NONE])
    fill(layer, "dt_proj.weight", 1.0)
    fill(layer, "dt_bias", -FAR)
