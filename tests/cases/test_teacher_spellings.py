"""T3, T4, T5, T7, T12: further spellings of thinking, answers, errors and empty accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dhrd.data.records import LabelSet
from dhrd.errors import TeacherError
from dhrd.rationales.teacher.answers import Answer, Rationale, judge
from dhrd.rationales.teacher.failures import describe, failure_of, fault_in
from dhrd.rationales.teacher.prompt import SENTINEL, Question
from helpers.endpoint import ScriptedEndpoint, completion, serving
from helpers.teacher import ask, write_cases

LABELS = LabelSet(("refund", "keep"))
PLAIN = f"Because of x.\n{SENTINEL}\nrefund"
BEFORE = f"Because of x.\n{SENTINEL}\n"

FORMS = {
    "T3: folded thoughts": f"<details><summary>Thinking</summary>Hm.\n{SENTINEL}\nkeep</details>\n{PLAIN}",
    "T3: a box": f"<think>Hm</think>\n{BEFORE}<|begin_of_box|>refund<|end_of_box|>",
    "T12: a quotation": "\n".join(f"> {line}" for line in PLAIN.split("\n")),
    "T12: a byte order mark": f"\ufeff{PLAIN}",
    "T12: a list": '[{"explanation": "Because of x.", "answer": "refund"}]',
    "T12: an object in another": '{"response": {"explanation": "Because of x.", "answer": "refund"}}',
    "T12: Python's spelling": "{'explanation': 'Because of x.', 'answer': 'refund'}",
    "T12: a comma at the end": '{"explanation": "Because of x.", "answer": "refund",\n}',
    "T12: an object a line": '{"explanation": "Because of x."}\n{"answer": "refund"}',
    "T12: the answer alone an object": f'{BEFORE}{{"answer": "refund"}}',
    "T12: so, and fenced": f'{BEFORE}```json\n{{\n  "label": "refund"\n}}\n```',
    "T12: a heading of HTML": f"<b>Explanation</b>\n{PLAIN}",
    "T12: a heading with a dash": f"Explanation - {PLAIN}",
    "T12: a numbered step": f"Step 1: Explanation\n{PLAIN}",
    "T12: as follows": f"The explanation is as follows:\n{PLAIN}",
    "T12: as requested": f"As requested, here is the explanation:\n{PLAIN}",
    "T12: here you go": f"Sure, here you go:\n{PLAIN}",
    "T4: numbered": f"{BEFORE}1. refund",
    "T4: ticked": f"{BEFORE}✅ refund",
    "T4: an arrow": f"{BEFORE}→ refund",
    "T4: classification": f"{BEFORE}**Classification:** refund",
    "T4: category": f"{BEFORE}The category is refund.",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_t12_more_forms_of_an_answer(text: str) -> None:
    question = Question(id="r0", prompt="why?", key="k0", label=(0,))
    found = judge(Answer(text=text), question, LABELS, label_hidden=True)
    assert found == Rationale("Because of x.", agrees=True)


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


def test_t5_a_status_alone_is_one() -> None:
    fault = fault_in({"error": 402})
    assert fault is not None
    assert isinstance(failure_of(fault, host="h", model="m"), TeacherError)


@pytest.mark.parametrize(
    "finish", ["stop", "eos", "length", "tool_calls", "end_turn", "content_filter", None, ["stop"]]
)
def test_t5_any_other_end_is_no_error(finish: Any) -> None:
    assert fault_in(completion(PLAIN, finish=finish)) is None


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (429, "Your account balance is insufficient"),
        (429, "Insufficient balance, please recharge"),
        (429, "You have no credits left"),
        (403, "You have exceeded your monthly spending limit"),
    ],
)
def test_t7_no_money_in_more_words(status: int, said: str) -> None:
    found = failure_of(describe({"error": {"message": said}}, status), host="h", model="m")
    assert "the account's quota is used up" in str(found)
