"""From a response's JSON to what was said and what it cost."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.rationales.teacher.completion import read_completion
from dhrd.rationales.teacher.failures import Fault
from helpers.endpoint import completion


def usage(**parts: Any) -> dict[str, Any]:
    return completion("x" * 40, usage=parts)


@pytest.mark.parametrize(
    ("body", "prompt_tokens", "completion_tokens"),
    [
        (usage(prompt_tokens=100, completion_tokens=30, total_tokens=2130), 100, 2030),
        (usage(prompt_tokens=100, completion_tokens=30, total_tokens=130), 100, 30),
        (usage(prompt_tokens=100, completion_tokens=30), 100, 30),
        (usage(prompt_tokens=100, total_tokens=160), 100, 60),
        (usage(completion_tokens=30, total_tokens=160), 130, 30),
        (usage(input_tokens=100, output_tokens=30), 100, 30),
        (
            usage(prompt_tokens=100, completion_tokens=30, completion_tokens_details={"reasoning_tokens": 2000}),
            100,
            2030,
        ),
        (
            usage(prompt_tokens=100, completion_tokens=2030, completion_tokens_details={"reasoning_tokens": 2000}),
            100,
            2030,
        ),
        (usage(prompt_tokens=-100, completion_tokens=-30, total_tokens=-130), None, None),
        (usage(prompt_tokens=100, completion_tokens=30, total_tokens=-5), 100, 30),
        (usage(prompt_tokens="100", completion_tokens=30.0), 100, 30),
        (usage(prompt_tokens=True, completion_tokens=float("nan")), None, None),
        (usage(prompt_tokens=1e300, completion_tokens=[30]), None, None),
    ],
)
def test_t9_thinking_counts_and_nothing_below_0(
    body: dict[str, Any], prompt_tokens: int | None, completion_tokens: int | None
) -> None:
    found = read_completion(body)
    assert not isinstance(found, Fault)
    assert (found.prompt_tokens, found.completion_tokens) == (prompt_tokens, completion_tokens)
