"""The operators that the page of the scan offers, and its first leaves; their arithmetic is in ``plan.js``."""

import string
from dataclasses import dataclass
from itertools import cycle, islice

_PI, _E = "31415926535897932384626433832795", "27182818284590452353602874713526"
_MAPS = ("2x+1", "x-3", "-x+2", "3x", "x+4", "-x-1", "x+5")
_CARDS = ("21345", "23451", "12354", "51234", "13245", "54321")
_INTEGER = "A leaf is an integer of at most 30 digits, such as -7."


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One choice of the page.

    Attributes:
        key: Its name in the page's address.
        name: What the choice says.
        merge: What it makes of two states.
        law: What is true of it, in one sentence.
        typed: How a leaf is typed, in words.
        leaves: The leaves that the page offers, as they are typed; the first ``N`` for ``N`` leaves.
    """

    key: str
    name: str
    merge: str
    law: str
    typed: str
    leaves: tuple[str, ...]


OPERATORS = (
    Operator(
        key="text",
        name="join texts, in brackets",
        merge="(left right)",
        law="The brackets that it writes show which bracketing was computed.",
        typed="A leaf is a text of 1 to 40 characters without round brackets and without spaces.",
        leaves=tuple((string.ascii_lowercase + string.ascii_uppercase)[:32]),
    ),
    Operator(
        key="sum",
        name="sum of integers",
        merge="left + right",
        law="It is associative and commutative, so every bracketing gives the same.",
        typed=_INTEGER,
        leaves=tuple(_E),
    ),
    Operator(
        key="skew",
        name="skew: 2 left + 3 right",
        merge="2 left + 3 right",
        law="It is neither associative nor commutative: another bracketing gives another number.",
        typed=_INTEGER,
        leaves=tuple(_PI),
    ),
    Operator(
        key="affine",
        name="affine maps x → ax + b",
        merge="x → right(left(x)): the maps as matrices [a b; 0 1], multiplied",
        law="It is associative, not commutative; linear state-space models are of this kind.",
        typed="A leaf is a map with integers of at most 30 digits, such as 2x+1, -x or x-3.",
        leaves=tuple(islice(cycle(_MAPS), 32)),
    ),
    Operator(
        key="cards",
        name="shuffles of five cards",
        merge="the left shuffle, then the right one",
        law="It is associative, not commutative; models are asked for such products to test how they track a state.",
        typed="A leaf is a shuffle: which card comes to each of the five places, such as 21345.",
        leaves=tuple(islice(cycle(_CARDS), 32)),
    ),
)
