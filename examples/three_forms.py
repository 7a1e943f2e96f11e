"""One row of the affine family, Gated DeltaNet, in three forms: a loop, a tree of matrix products, and chunks.

They are equal because its updates are associative: here brackets do not matter, and one state is enough.
"""

import time

import torch

import scannable as sc
from scannable.affine import lifted

torch.manual_seed(0)
layer = sc.affine.GatedDeltaNet(width=32, heads=2).double()
x = torch.randn(1, 1000, 32).double()

with torch.no_grad():
    expected, last = layer(
        x, implementation="recurrent"
    )  # the definition: s_t = E_t s_{t-1} + f_t, token by token
    for form in ("recurrent", "tree", "chunkwise"):
        start = time.perf_counter()
        y, state = layer(x, implementation=form)
        seconds = time.perf_counter() - start
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
        print(f"{form:10} {seconds:6.3f} s, off by {(y - expected).abs().max():.0e}")

    # Any split into calls gives the same, each in whichever form.
    state, outputs = None, []
    for piece, form in zip(x.split([1, 998, 1], 1), ("recurrent", "chunkwise", "tree"), strict=True):
        y, state = layer(piece, state, implementation=form)
        outputs.append(y)
    torch.testing.assert_close(torch.cat(outputs, 1), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(state.memory, last.memory, rtol=0, atol=1e-12)
    print(f"the state has shape {tuple(state.memory.shape)} after 1,000 tokens, as after one")

    # The tree is the same scan that runs any aggregator. Its leaves are the updates, as pairs (E_t, f_t).
    compose, pairs = lifted(layer, x[:, :20])
    sc.testing.assert_associative(compose, pairs)
    element, shift = sc.scan(compose, pairs, inclusive=True)
    _, state = layer(x[:, :20])
    torch.testing.assert_close(shift[:, -1], state.memory, rtol=0, atol=1e-12)
    print("a scan of the pairs ends in the state of the layer, since it began at zero")
