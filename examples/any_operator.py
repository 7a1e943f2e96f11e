"""Scans without neural networks: states are any tensors or trees of tensors, and the operator needs no law.

Texts show the brackets, affine maps show a state of two tensors, and packed sequences share one scan.
"""

import torch
from torch import Tensor

import scannable as sc


class Brackets:
    """Texts, as places in a list: merging writes a new text, with brackets around it."""

    def __init__(self, letters: str) -> None:
        self.texts = [*letters, "nothing"]

    def combine(self, left: Tensor, right: Tensor) -> Tensor:
        before = len(self.texts)
        self.texts += [f"({self.texts[i]}{self.texts[j]})" for i, j in zip(left, right, strict=True)]
        return torch.arange(before, len(self.texts))

    def identity(self, like: Tensor) -> Tensor:
        return torch.full_like(like, self.texts.index("nothing"))


class Affine:
    """Maps ``x -> matrix x + shift`` of the plane; the earlier one, ``left``, is applied first."""

    def combine(self, left: dict[str, Tensor], right: dict[str, Tensor]) -> dict[str, Tensor]:
        shift = (right["matrix"] @ left["shift"][..., None])[..., 0] + right["shift"]
        return {"matrix": right["matrix"] @ left["matrix"], "shift": shift}

    def identity(self, like: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"matrix": torch.eye(2).expand_as(like["matrix"]), "shift": torch.zeros_like(like["shift"])}


word = Brackets("scannable")
for place in sc.scan(word, torch.arange(9)[None], inclusive=True)[0]:
    print(word.texts[place])  # the brackets are the binary digits of the length

# Two sequences end to end, "scann" and "able": the brackets of each are its own.
packed = sc.scan(word, torch.arange(9)[None], offsets=[0, 5, 9])[0]
print("before each letter:", ", ".join(word.texts[place] for place in packed))

# Three walkers turn by 30 degrees and go a step, a thousand times; the second one's steps are half as long.
turn = torch.tensor([[3**0.5 / 2, -0.5], [0.5, 3**0.5 / 2]])
step = torch.tensor([[1.0, 0.0], [0.5, 0.0], [1.0, 0.0]])
leaves = {"matrix": turn.expand(3, 1000, 2, 2), "shift": step[:, None].expand(3, 1000, 2)}
maps = sc.scan(Affine(), leaves, inclusive=True)
print("after 12 steps everyone is back:", maps["shift"][:, 11].abs().max().item() < 1e-5)

_, counter = sc.Counter.empty(Affine(), {name: x[:, 0] for name, x in leaves.items()}).extend(leaves)
assert torch.equal(counter.prefix["shift"], maps["shift"][:, -1])  # same merges, same bits
print(f"after 1,000 the second walker is at {counter.prefix['shift'][1].tolist()}")
