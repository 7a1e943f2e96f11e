"""Charts hold what they were given, where the scales say, and can be read without colours."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from scannable.viewer import Axis, Line, chart, standalone


def drawn(*lines, x=None, y=None, **settings):
    return ET.fromstring(
        chart("a chart", lines, x or Axis(title="across"), y or Axis(title="up"), **settings)
    )


def test_every_point_is_a_dot_with_its_values_in_words():
    svg = drawn(Line(name="one", points=[(1, 0.5), (2, 0.25)], tone=0), y=Axis(title="", unit="percent"))
    assert [title.text for title in svg.iter("title")] == ["one: 50 % at 1", "one: 25 % at 2"]


def test_a_logarithmic_axis_spaces_decades_evenly_and_leaves_zero_out():
    line = Line(name="one", points=[(0, 1), (1, 1), (10, 1), (100, 1)], tone=0)
    dots = [float(dot.get("cx")) for dot in drawn(line, x=Axis(title="", log=True)).iter("circle")]
    assert len(dots) == 3
    assert dots[1] - dots[0] == pytest.approx(dots[2] - dots[1], abs=0.2)


def test_larger_values_are_drawn_higher():
    low, high = (
        float(dot.get("cy")) for dot in drawn(Line(name="", points=[(1, 0), (2, 1)], tone=0)).iter("circle")
    )
    assert high < low


def test_labels_of_lines_that_end_together_do_not_touch_and_stay_inside():
    lines = [Line(name=f"line {n}", points=[(1, 0), (2, 0)], tone=n % 4) for n in range(5)]
    svg = drawn(*lines)
    heights = sorted(
        float(text.get("y")) for text in svg.iter("text") if (text.text or "").startswith("line ")
    )
    assert min(b - a for a, b in pairwise(heights)) >= 12
    assert heights[-1] <= float(svg.get("viewBox").split()[3])


def test_names_cannot_break_out_of_the_drawing():
    svg = drawn(Line(name="<script>", points=[(1, 1)], tone=0), notes=[(1, "<b>")])
    assert not list(svg.iter("script"))
    assert not list(svg.iter("b"))


def test_a_chart_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one point, got none for 'a chart'"):
        drawn(Line(name="", points=[], tone=0))


def test_a_standalone_chart_is_a_file_with_its_style_and_a_ground():
    svg = ET.fromstring(
        standalone(
            chart("a chart", [Line(name="one", points=[(1, 1)], tone=0)], Axis(title=""), Axis(title=""))
        )
    )
    space = "{http://www.w3.org/2000/svg}"
    style, ground, *_ = svg
    assert (style.tag, ground.tag) == (f"{space}style", f"{space}rect")
    assert "prefers-color-scheme: dark" in style.text
    assert ".tone0" in style.text
