"""From words on the command line to a command, and from its outcome to an exit code."""

import difflib
import importlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.padding import Padding

from scannable.cli._commands import COMMANDS
from scannable.cli._terminal import Terminal, complain, listing

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 failed, 2 not understood, 130 interrupted."""
    if arguments is None:
        _open_outputs()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in ("-h", "--help", "help"):
        _overview(Terminal())
        return DONE
    if given == ["--version"]:
        print(f"scannable {metadata.version('scannable')}")
        return DONE
    if not given or given[0].startswith("-"):
        given.insert(0, "intro")
    name = next((name for name in COMMANDS if given[: len(name.split())] == name.split()), None)
    if name is None:
        return _unknown(given)
    return _run(name, given[len(name.split()) :])


def _open_outputs() -> None:
    """Let no work end because its outputs are closed, or of an encoding that lacks a sign."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(name: str, rest: list[str]) -> int:
    command = COMMANDS[name]
    try:
        module = importlib.import_module(f"scannable.cli.{command.file}")
        options = _parse(name, module, rest)
        if isinstance(options, int):
            return options
        # Of several processes under torchrun the first one speaks.
        terminal = Terminal(json=options.json, silent=os.environ.get("RANK", "0") != "0")
        return DONE if module.run(options, terminal) else FAILED
    except KeyboardInterrupt:
        again = "; the same command goes on from here" if command.resumes else ""
        complain(f"Stopped{again}.")
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; without this, Python complains once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _failed(error, _told(error))
    except (ValueError, TypeError, ArithmeticError, ImportError) as error:
        return _failed(error, str(error))
    except (MemoryError, RuntimeError) as error:
        if not _too_large(error):
            raise
        return _failed(error, _FULL.format(str(error).partition("\n")[0] or "no more"))


_FULL = (
    "All of the work must fit the memory, got this from it: {}; take a smaller model, fewer --tokens or shorter texts, "
    "or train in more --parts."
)


def _too_large(error: Exception) -> bool:
    """Tell whether memory was short: torch has a class for that on a GPU, and only words on a CPU."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    return bool({"MemoryError", "OutOfMemoryError"} & {*kinds}) or "can't allocate memory" in str(error)


def _failed(error: Exception, words: str) -> int:
    """Say why, unless the first of several processes says the same."""
    if not getattr(error, "agreed", False):
        complain(words)
    return FAILED


def _parse(name: str, module: Any, rest: list[str]) -> Any:
    """Read the options of a command; an exit code instead if that is all there is to do."""
    if not rest and name == "intro":
        return module.Options()  # the shortest way to the first picture
    import tyro

    parse: Callable[..., Any] = getattr(module, "parse", tyro.cli)
    try:
        with _in_colour_or_not():
            return parse(
                module.Options, prog=f"scannable {name}", args=rest, config=(tyro.conf.DisallowNone,)
            )
    except SystemExit as stop:
        if stop.code in (None, 0):
            _examples(name)
            return DONE
        return MISUSED
    except (ValueError, TypeError) as error:
        complain(str(error))
        return MISUSED


@contextmanager
def _in_colour_or_not() -> Iterator[None]:
    """Let tyro write without colours where NO_COLOR asks for that; it looks at TERM alone."""
    term = os.environ.get("TERM")
    if os.environ.get("NO_COLOR") and term is not None:
        os.environ["TERM"] = "dumb"
    try:
        yield
    finally:
        if term is not None:
            os.environ["TERM"] = term


def _told(error: OSError) -> str:
    """Name the path and a cure, where the system gave no more than an error number."""
    if error.errno is None:
        return str(error)
    if error.filename is None:
        return f"The system refused, saying {error.strerror}; make room or mend that, and give the command again."
    return (
        f"{error.filename} must be a place that can be read and written, got {error.strerror}; choose another, or "
        f"mend this one."
    )


def _examples(name: str) -> None:
    terminal = Terminal()
    terminal.say("[bold]Examples[/]")
    for line, what in COMMANDS[name].examples:
        terminal.say(f"  {escape(line)}", whole=True)
        terminal.say(Padding(f"[dim]{escape(what)}[/]", (0, 0, 0, 6), expand=False))


def _overview(terminal: Terminal) -> None:
    terminal.say(
        "Sequence models that are trained in parallel over a tree and streamed in logarithmic memory.\n"
    )
    terminal.say("[bold]scannable[/] COMMAND [OPTIONS]\n")
    terminal.say(listing((name, command.summary) for name, command in COMMANDS.items()))
    terminal.say(
        "\n[bold]scannable COMMAND --help[/] lists the options of a command, with examples; [bold]--json[/] makes any "
        "of them speak to a program. The exit code is 0 when what was asked was done, 1 when it failed, 2 when it was "
        "not understood, 130 after Ctrl-C."
    )


def _second(first: str, names: list[str]) -> None:
    """Say which words may follow the first one of a command."""
    terminal = Terminal()
    terminal.say(f"[bold]scannable {first}[/] needs a second word:\n")
    terminal.say(listing((f"scannable {name}", COMMANDS[name].summary) for name in names))
    help_lines = " or ".join(f"[bold]scannable {name} --help[/]" for name in names)
    terminal.say(f"\nIts options, with examples: {help_lines}")


def _unknown(given: list[str]) -> int:
    inner = [name for name in COMMANDS if name.split()[0] == given[0]]
    if inner:
        rest = [name.split()[1] for name in inner]
        got = f"got {given[1]!r}" if len(given) > 1 and not given[1].startswith("-") else "got nothing"
        if len(given) > 1 and given[1] in ("-h", "--help"):
            _second(given[0], inner)
            return DONE
        complain(f"{given[0]} needs to know what: one of {rest}, {got}; type scannable {inner[0]} --help.")
        return MISUSED
    near = difflib.get_close_matches(given[0], [name.split()[0] for name in COMMANDS], n=1)
    hint = f"did you mean {near[0]}?" if near else "type scannable --help."
    complain(f"The command must be one of {list(COMMANDS)}, got {given[0]!r}; {hint}")
    return MISUSED
