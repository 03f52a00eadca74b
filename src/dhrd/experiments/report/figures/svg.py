"""Inline SVG that takes its colours from the page around it.

Matplotlib (extra `report`) draws at 72 dots an inch, so a unit of a drawing is a CSS pixel, and in stand-in colours
that become CSS variables: one SVG serves light, dark and print.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

from dhrd._extras import require

INK, SOFT, LINE, GROUND = "#010101", "#010102", "#010103", "#010104"
ARM_COLOURS = tuple(f"#0a0b{index:02x}" for index in range(8))
_VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line", GROUND: "--ground"}
_VARIABLES |= {colour: f"--arm-{index}" for index, colour in enumerate(ARM_COLOURS)}

LIGHT = (
    "--ink: #1c2024; --soft: #60656c; --line: #dfe3e6; --ground: #ffffff; --arm-0: #6a7078; --arm-1: #0b68cb; "
    "--arm-2: #c27400; --arm-3: #00805f; --arm-4: #a8478a; --arm-5: #c4450c; --arm-6: #2f93cc; --arm-7: #7d7300;"
)
DARK = (
    "--ink: #e8eaed; --soft: #a2a8b0; --line: #33383f; --ground: #14171a; --arm-0: #a7adb5; --arm-1: #6cb2ff; "
    "--arm-2: #eda93c; --arm-3: #3cc79b; --arm-4: #e59acb; --arm-5: #ff8a57; --arm-6: #9ad8ff; --arm-7: #d9cf62;"
)
"""The page's colours, by what it is seen on."""

LONGEST_LABEL = 34  # letters

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dhrd",
    "text.parse_math": False,  # a label with two dollar signs is not a formula
    "text.color": INK,
    "font.size": 11,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.major.pad": 6,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure.

    Args:
        title: The caption above it; empty where the section's heading says it.
        svg: The element, whose `aria-label` says what is seen.
        width: Its natural width in pixels.
    """

    title: str
    svg: str
    width: int


def make_drawing(paint: Callable[[Any], str], *, name: str, width: int, height: int, title: str = "") -> Drawing:
    """Paint a figure and make it an element of a page.

    Args:
        paint: Paints an empty Matplotlib figure and says what is seen in it.
        name: Of its own in the page: the element's ids begin with it.
        width: In pixels.
        height: In pixels.
        title: The drawing's caption.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """
    figure_class = require("matplotlib.figure", extra="report").Figure
    file = io.StringIO()
    with require("matplotlib.style", extra="report").context(_STYLE, after_reset=True):
        figure = figure_class(figsize=(width / 72, height / 72), dpi=72)
        seen = paint(figure)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return Drawing(title=title, svg=_inline(file.getvalue(), name=name, seen=seen), width=width)


def _inline(svg: str, *, name: str, seen: str) -> str:
    """A file's SVG made an element of a page: the page's colours and font, ids of its own, no addresses."""
    svg = svg[svg.index("<svg") :]
    view_box = re.search(r'viewBox="[^"]*"', svg)
    assert view_box is not None
    body = svg[svg.index(">") + 1 :].strip()
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = _own_ids(body.replace("xlink:href=", "href="), name)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r"font: (?:(\d+) )?([\d.]+)px [^;\"]*", _font, body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"\n\s*", "\n", body)
    return f'<svg {view_box[0]} role="img" aria-label={quoteattr(seen)}>{body}'


def _own_ids(body: str, name: str) -> str:
    """The ids that are referred to, each with the figure's name before it; no others."""
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', body))
    kept = {one or other for one, other in used}
    body = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in kept else "", body)
    return re.sub(r'href="#|url\(#', lambda m: m[0] + name + "-", body)


def _font(found: re.Match[str]) -> str:
    """The size and weight alone; the family is the page's."""
    return f"font-size: {found[2]}px" + (f"; font-weight: {found[1]}" if found[1] else "")


def as_file(drawing: Drawing) -> str:
    """A drawing as a file of its own, for a README: its colours follow the reader's light or dark mode."""
    style = (
        f"svg {{ {LIGHT} font-family: system-ui, sans-serif; }} "
        f"@media (prefers-color-scheme: dark) {{ svg {{ {DARK} }} }}"
    )
    element, rest = drawing.svg.split(">", 1)
    return f'{element} xmlns="http://www.w3.org/2000/svg" width="{drawing.width}"><style>{style}</style>{rest}\n'


def make_axes(figure: Any, *, left: float, right: float, top: float, bottom: float, **more: Any) -> Any:
    """Axes with margins in pixels."""
    width, height = figure.get_size_inches() * 72
    place = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure.add_axes(place, **more)


def write_in_percent(axis: Any, most_ticks: int = 5) -> None:
    """An axis of shares, its ticks in percent."""
    axis.get_major_locator().set_params(nbins=most_ticks)
    axis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def name_axes(axes: Any, x: str, y: str) -> None:
    """Names lie flat: the y axis is named above it, where it is read first."""
    axes.set_xlabel(x, fontsize=11, loc="right", labelpad=2)
    axes.set_title(y, fontsize=11, loc="left", color=SOFT, pad=6, x=-0.02)


def shortened(text: str, longest: int = LONGEST_LABEL) -> str:
    """A label on one line, of so many letters at most."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
