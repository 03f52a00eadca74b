"""The content of a chat message, which may be any JSON value."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.rationales.teacher.content import read_content

CONTENTS = [
    (None, "", None),
    ("x", "x", None),
    ([{"type": "text", "text": "a "}, {"type": "output_text", "text": "b"}], "a b", None),
    ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm"}]}, {"type": "text", "text": "a"}], "a", None),
    ([{"text": "Hmm", "thought": True}, {"text": "a"}], "a", None),
    ({"type": "text", "text": {"value": "a"}}, "a", None),
    (["a", "b"], "ab", None),
    ([], "", None),
    (7, "7", "content is a JSON number without text"),
    (False, "false", "content is a JSON truth value without text"),
    ({"a": 1}, '{"a": 1}', "content is a JSON object without text"),
    ([{"type": "image_url"}], '[{"type": "image_url"}]', "content is a JSON list without text"),
]


@pytest.mark.parametrize(("value", "text", "problem"), CONTENTS)
def test_t1_text_parts_are_joined_and_thinking_left_out(value: Any, text: str, problem: str | None) -> None:
    found = read_content(value)
    assert (found.text, found.problem) == (text, problem)
