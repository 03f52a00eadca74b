"""What all figures share: how they look, their axes, and an SVG for a page or a file.

Matplotlib (extra `report`) draws at 72 dots an inch, so a unit of a drawing is a CSS pixel.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from dhrd._extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, LINE, GROUND = "#1c2024", "#60656c", "#dfe3e6", "#ffffff"
DARK = "invert(0.92) hue-rotate(180deg)"
"""The filter that makes a drawing one for a dark ground: light turns dark, and colours keep their hue."""
_FOLLOW = f"<style>@media (prefers-color-scheme: dark) {{ svg {{ filter: {DARK} }} }}</style>\n "

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
    "legend.frameon": False,
}

Paint = Callable[["Figure"], str]
"""Paints an empty Matplotlib figure and says what is seen in it."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure.

    Args:
        title: The caption above it; empty where the section's heading says it.
        seen: What is seen, in words.
        svg: The file, which follows the reader's light or dark mode.
        width: Its natural width in pixels.
    """

    title: str
    seen: str
    svg: str
    width: int

    @property
    def source(self) -> str:
        """The file as the address of an image."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()

    def in_mode(self, mode: Literal["light", "dark"]) -> str:
        """The file for a page that has a picture for each of its modes."""
        return self.svg.replace(_FOLLOW, f"<style>svg {{ filter: {DARK} }}</style>\n " if mode == "dark" else "")


def make_drawing(paint: Paint, *, width: int, height: int, title: str = "") -> Drawing:
    """Paint a figure of so many pixels.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """
    figure_class = require("matplotlib.figure", extra="report").Figure
    file = io.StringIO()
    with require("matplotlib.style", extra="report").context(_STYLE, after_reset=True):
        figure = figure_class(figsize=(width / 72, height / 72), dpi=72)
        seen = paint(figure)
        figure.savefig(file, format="svg", transparent=True, metadata={"Title": seen, "Date": None, "Creator": None})
    head, defs, rest = file.getvalue().partition("<defs>")
    return Drawing(title=title, seen=seen, svg=head + _FOLLOW + defs + rest, width=width)


def make_axes(
    figure: Figure, *, left: float, right: float, top: float, bottom: float, projection: str | None = None
) -> Axes:
    """Axes with margins in pixels."""
    width, height = figure.get_size_inches() * 72
    place = (left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)
    return figure.add_axes(place, projection=projection)


def write_in_percent(axes: Axes, which: Literal["x", "y"], most_ticks: int = 5) -> None:
    """An axis of shares, its ticks in percent."""
    axes.locator_params(axis=which, nbins=most_ticks)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Names lie flat: the y axis is named above it, where it is read first."""
    axes.set_xlabel(x, fontsize=11, loc="right", labelpad=2)
    axes.set_title(y, fontsize=11, loc="left", color=SOFT, pad=6, x=-0.02)


def shortened(text: str, longest: int) -> str:
    """A label on one line, of so many letters at most."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
