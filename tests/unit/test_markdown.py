"""Text from data in a page of Markdown. The letters name reported cases."""

from __future__ import annotations

import pytest

from dhrd._markdown import as_code, as_markdown, fenced


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("<b>", "&lt;b&gt;"),
        ("a|b\nc", r"a\|b c"),
        ("[x](y)", r"\[x\](y)"),
        ("&lt;", "&amp;lt;"),
        ("AT&T", "AT&T"),
        ("\x1b", r"\\x1b"),
    ],
)
def test_a7_markdown_shows_text_as_it_is(given: str, shown: str) -> None:
    """A7: the one function behind every page of Markdown."""
    assert as_markdown(given) == shown


def test_a7_code_cannot_be_ended_from_within() -> None:
    """A7: names are code where they can be; a template's block has a longer fence than any in it."""
    assert [as_code(name) for name in ("a b", "a`b", " a")] == ["`a b`", r"a\`b", " a"]
    assert fenced("```\n<img>\n```", "jinja") == "````jinja\n```\n<img>\n```\n````"
