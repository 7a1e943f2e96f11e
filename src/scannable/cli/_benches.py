"""What all benches do: measure, say what could not be verified, and print sizes and ratios."""

from collections.abc import Callable
from typing import Any

from scannable.cli._terminal import BAD, GOOD, Terminal, complain


def show(
    bench: Callable[..., dict[str, Any]],
    config: Any,
    terminal: Terminal,
    draw: Callable[[dict[str, Any], Terminal], None],
) -> bool:
    """Measure and print; False if something was not as it should be, so that nothing was timed."""
    try:
        found = terminal.busy(lambda say: bench(config, progress=say))
    except RuntimeError as error:
        complain(str(error))
        return False
    terminal.record(found)
    draw(found, terminal)
    return True


def shape(sizes: list[int]) -> str:
    """Write the shape of a tensor."""
    return "(" + ", ".join(f"{n:,}" for n in sizes) + ")"


def ratio(value: float, good: bool) -> str:
    """Write a ratio in the colour of its verdict."""
    return f"[{GOOD if good else BAD}]{value:.2f}[/]"
