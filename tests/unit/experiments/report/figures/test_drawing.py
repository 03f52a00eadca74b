"""A drawing is one file that says what is seen in it."""

from __future__ import annotations

import base64
from typing import Any
from xml.etree import ElementTree

from dhrd.experiments.report.figures.drawing import make_axes, make_drawing, shortened
from helpers.report import DATA, SVG


def paint(figure: Any) -> str:
    axes = make_axes(figure, left=10, right=20, top=5, bottom=15)
    axes.plot([0, 1], [0, 1])
    axes.set_title("$1$ & <b>")
    return "a line <rising> & no more"


def test_it_is_the_same_each_time_and_holds_what_it_says() -> None:
    drawing = make_drawing(paint, width=200, height=100, title="one")
    assert drawing == make_drawing(paint, width=200, height=100, title="one")
    root = ElementTree.fromstring(drawing.svg)
    assert root.attrib["viewBox"] == "0 0 200 100"
    assert root.findtext(f"{SVG}title") == "a line <rising> & no more"
    assert "$1$ & <b>" in "".join(root.itertext())
    assert base64.b64decode(drawing.source.removeprefix(DATA)).decode() == drawing.svg


def test_a_page_with_a_picture_for_each_mode_gets_files_that_follow_nothing() -> None:
    drawing = make_drawing(paint, width=200, height=100)
    light, dark = drawing.in_mode("light"), drawing.in_mode("dark")
    assert "prefers-color-scheme" in drawing.svg
    assert "prefers-color-scheme" not in light + dark
    assert ("filter" in light, "filter" in dark) == (False, True)
    for file in (light, dark):
        assert ElementTree.fromstring(file).attrib["viewBox"] == "0 0 200 100"


def test_axes_have_margins_in_pixels() -> None:
    places = []

    def measured(figure: Any) -> str:
        places.append(make_axes(figure, left=10, right=20, top=5, bottom=15).get_position().bounds)
        return ""

    make_drawing(measured, width=200, height=100)
    assert [round(one, 6) for one in places[0]] == [0.05, 0.15, 0.85, 0.8]


def test_a_label_is_one_short_line() -> None:
    assert shortened("a\nb  c", 9) == "a b c"
    assert shortened("abcdefgh", 5) == "abcd…"
