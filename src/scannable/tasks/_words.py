"""Word problems: read group elements one by one, say after each what their product is so far.

Inputs and answers share one vocabulary, the numbers of the group's elements. Two things differ from the
authors' data: there are no special tokens, and the answer at place ``t`` is the product up to and including ``t``
at every place, where theirs leaves the last one out.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Int64
from torch import Tensor

from scannable.scans._option import check_option
from scannable.tasks._batch import Batch
from scannable.tasks._groups import PermutationGroup, group

Inputs = Literal["all", "generators"]


@dataclass(frozen=True, kw_only=True)
class WordProblemConfig:
    """Which group, which of its elements are read, and how long the words are that a model trains on."""

    group: str = "S5"
    """S<n>, A<n>, C<n> or D<n> for a number n, as in S5, or parity, which is C2."""
    inputs: Inputs = "all"
    """Read any element, or only the generators and the identity."""
    shortest: int = 1
    """The shortest word to train on. Equal to `longest`: every word is as long as the curriculum allows."""
    longest: int = 18
    """The longest word to train on."""

    def __post_init__(self) -> None:
        group(self.group)
        check_option("inputs", self.inputs, get_args(Inputs))
        if not 1 <= self.shortest <= self.longest:
            raise ValueError(
                f"Lengths must be 1 <= shortest <= longest, got shortest={self.shortest} and "
                f"longest={self.longest}; change one of them."
            )


class WordProblem:
    """Words over a permutation group with exact answers.

    Args:
        config: Which group and which inputs; the lengths there are for the trainer.
    """

    def __init__(self, config: WordProblemConfig) -> None:
        self.config = config
        self.group: PermutationGroup = group(config.group)
        numbers = sorted({0, *self.group.generators})
        self._letters = torch.tensor(numbers if config.inputs == "generators" else range(self.vocabulary))

    @property
    def vocabulary(self) -> int:
        """How many elements the group has."""
        return self.group.order

    def batch(self, size: int, length: int, generator: torch.Generator) -> Batch:
        """Draw words uniformly, on the generator's device.

        A batch is determined by the generator, but generators of two kinds of device draw different bits.
        """
        if size < 1 or length < 1:
            raise ValueError(
                f"A batch needs size >= 1 and length >= 1, got size={size} and length={length}; "
                f"skip empty batches."
            )
        device = generator.device
        places = torch.randint(len(self._letters), (size, length), generator=generator, device=device)
        tokens = self._letters.to(device)[places]
        return Batch(tokens, self.products(tokens), torch.ones_like(tokens, dtype=torch.bool))

    def products(self, tokens: Int64[Tensor, "B T"]) -> Int64[Tensor, "B T"]:
        """Multiply up: place ``t`` holds the product of the elements up to and including ``t``.

        Groups are associative, so spans may be doubled: after the round of ``span``, place ``t`` holds the product
        of the last ``2 * span`` elements. That is exact, and ``log2 T`` rounds on any device.

        Raises:
            ValueError: If a number is of no element; values are only looked at on the CPU.
        """
        if tokens.device.type == "cpu" and not ((tokens >= 0) & (tokens < self.vocabulary)).all():
            low, high = map(int, tokens.aminmax())
            raise ValueError(
                f"Elements of {self.group.name} are 0..{self.vocabulary - 1}, got {low} to {high}; "
                f"is it another group's word?"
            )
        table, products, span = self.group.table.flatten().to(tokens.device), tokens.clone(), 1
        while span < tokens.shape[1]:
            merged = table[products[:, :-span] * self.vocabulary + products[:, span:]]
            products = torch.cat([products[:, :span], merged], 1)
            span *= 2
        return products
