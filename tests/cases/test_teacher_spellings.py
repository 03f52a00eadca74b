"""T3, T4, T5, T7, T12: further spellings of thinking, answers, errors and empty accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dhrd.data.records import LabelSet
from helpers.endpoint import ScriptedEndpoint, completion, serving
from helpers.teacher import ask, write_cases


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("label a", "label b"), "label a."),
        (("label a", "label b"), "label a (because it fits)"),
        (("label a", "label b"), "> label a"),
        (("The answer", "An answer"), "The answer."),
        (("answer: yes", "answer: no"), "**answer: yes**."),
        (("final answer", "draft"), "- final answer"),
        (("category: a", "b"), "category: a."),
        (("keep (old)", "keep"), "keep (old) (because it fits)"),
        (("(a)", "(b)"), "(a) (because it fits)"),
        (("#", "##"), "`#`"),
        (("-", "+"), "**-**"),
        (("<|a|>", "b"), "Answer: <|a|>"),
    ],
)
def test_t4_what_takes_least_off_comes_first(names: tuple[str, ...], text: str) -> None:
    assert LabelSet(names).read(text) == (0,)
    assert LabelSet(names, multi_label=True).read(text) == (0,)


FAILED: dict[str, dict[str, Any]] = {
    "DeepSeek's": completion("", finish="insufficient_system_resource"),
    "GLM's": completion("It", finish="network_error"),
    "a gateway's": completion("It", finish="model_error"),
    "cancelled": completion("It", finish="cancelled"),
    "the model's own": {"choices": [{"message": {"content": ""}, "native_finish_reason": "error"}]},
    "in the message": {"choices": [{"message": {"content": "", "error": {"code": 502, "message": "x"}}}]},
}


@pytest.mark.parametrize("body", FAILED.values(), ids=FAILED)
def test_t5_an_answer_that_the_endpoint_broke_off_is_asked_again(tmp_path: Path, body: dict[str, Any]) -> None:
    with serving(ScriptedEndpoint(respond=lambda number, _: body if number == 0 else None)) as endpoint:
        found = ask(endpoint, write_cases(tmp_path / "d.jsonl", 1), tmp_path / "o.jsonl")
    assert (found.num_rationales, found.rejected.total(), endpoint.num_requests) == (1, 0, 2)
