"""The commands: wiring and printing only."""

from scannable.cli._main import main

__all__ = ["main"]
