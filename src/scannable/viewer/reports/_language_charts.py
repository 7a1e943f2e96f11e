"""Charts of many language models: a chart for each family of them, each beside the decoder of the same blocks."""

from collections.abc import Callable, Sequence

from scannable.viewer.parts._figure import TONES, Line, Point
from scannable.viewer.parts._page import figure
from scannable.viewer.parts._scale import Axis, around
from scannable.viewer.reports._language_lines import blocked
from scannable.viewer.reports._language_parts import Record, by_place, by_step, places, steps

GREY = TONES


def curves(lines: Sequence[Record], peer: Record | None, runs: dict[str, Record]) -> list[str]:
    """Draw loss by place and by step, of the first run of each model.

    Args:
        lines: Those of ``language_table``.
        peer: The one that the others are compared with, if it is there.
        runs: The first record of each model.
    """

    def series(members: Sequence[Record], curve: Callable[[Record], Sequence[Point]]) -> list[Line]:
        drawn = [
            Line(name=line["model"], points=curve(runs[line["model"]]), tone=tone)
            for tone, line in enumerate(members)
        ]
        if peer:
            points = curve(runs[peer["model"]])
            drawn.append(Line(name=peer["model"], points=points, tone=GREY, form="dashed"))
        return [line for line in drawn if line.points]

    found = _families(lines, peer)
    by_places = [(name, series(members, lambda run: places(blocked(run)))) for name, members in found]
    by_steps = [
        (name, series(members, lambda run: steps(run["training"], "valid_losses"))) for name, members in found
    ]
    return [
        *(by_place(f"Loss by place: {name}", some) for name, some in by_places if some),
        *(by_step(f"Loss on the valid part: {name}", some) for name, some in by_steps if some),
    ]


def against_share(lines: Sequence[Record], peer: Record | None) -> list[str]:
    """Draw perplexity against the share of tokens that read a merged state; nothing without a model that has chunks."""
    found = [line for line in lines if line["merged_share"] is not None and line["perplexity"] is not None]
    if not found:
        return []
    drawn = []
    for tone, name in enumerate(dict.fromkeys(map(_family, found))):
        some = sorted((x for x in found if _family(x) == name), key=lambda line: line["merged_share"])
        drawn.append(
            Line(
                name=name,
                points=[(line["merged_share"], line["perplexity"]) for line in some],
                tone=tone % TONES,
                form="dots",
                spans=[tuple(line["interval"] or [line["perplexity"]] * 2) for line in some],
                words=[f"{line['chunk']}" for line in some],
            )
        )
    if peer and peer["perplexity"] is not None:
        level = [(0.0, peer["perplexity"]), (1.0, peer["perplexity"])]
        drawn.append(Line(name=peer["model"], points=level, tone=GREY, form="dashed"))
    heights = [point[1] for line in drawn for point in line.points]
    heights += [end for line in drawn for span in line.spans for end in span]
    return [
        figure(
            "Perplexity by the share that reads a merged state",
            drawn,
            Axis(title="share of tokens; numbers: tokens in a chunk", unit="percent", ends=(0.0, 1.0)),
            Axis(title="", ends=around(heights)),
        )
    ]


def _families(lines: Sequence[Record], peer: Record | None) -> list[tuple[str, list[Record]]]:
    """Put models of one kind together, as many as a chart has colours for."""
    found: dict[str, list[Record]] = {}
    for line in lines:
        if line is not peer:
            found.setdefault("no chunks" if line["chunk"] is None else _family(line), []).append(line)
    return [
        (name, members[start : start + TONES])
        for name, members in found.items()
        for start in range(0, len(members), TONES)
    ] or [("decoder", [])]


def _family(line: Record) -> str:
    return line["model"].partition("-")[0]
