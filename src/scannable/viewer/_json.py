"""JSON that anybody may have written: how large it may be, and which numbers it may hold."""

import json
import math
from typing import Any

BYTES = 20_000_000
"""How large the text of a trace or another record may be."""

CURE = "give a file that scannable wrote, as it was"


def parsed(text: str | bytes, what: str) -> Any:
    """Read JSON.

    Args:
        text: What is read.
        what: What it should be, for errors.

    Raises:
        ValueError: If it is too large, or not JSON, whose numbers are finite.
    """
    if len(text) > BYTES or (isinstance(text, str) and len(text.encode("utf-8", "replace")) > BYTES):
        raise ValueError(f"A {what} may have {BYTES:,} bytes, got more; give a smaller one.")
    try:
        return json.loads(text, parse_constant=_refused, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"A {what} must be JSON, got {str(error)[:80] or 'too deep a nest'}; {CURE}."
        ) from error


def _refused(name: str) -> None:
    raise ValueError(f"the number {name[:20]}")


def _finite(name: str) -> float:
    value = float(name)
    if math.isinf(value):
        _refused(name)
    return value
