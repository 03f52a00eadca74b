"""Text from data in a page of Markdown: shown verbatim, neither as markup nor as HTML."""

from __future__ import annotations

import re

from dhrd._text import escaped


def as_markdown(text: str) -> str:
    """A text for a paragraph or a table cell, on one line."""
    text = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(escaped(text).split("\n")))
    return re.sub(r"([\\`*\[\]|])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")


def as_code(text: str) -> str:
    """A name as code if nothing in it could end the code, else as text."""
    is_plain = re.fullmatch(r"[^`<>&|\\]+", text) and text == " ".join(escaped(text).split())
    return f"`{text}`" if is_plain else as_markdown(text)


def fenced(text: str, language: str) -> str:
    """A block of code, in a fence longer than any within."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{escaped(text)}\n{fence}"
