"""What a teacher's answer is: the text after its thinking, in whatever form models write it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from dhrd.data.records import LabelSet
from dhrd.rationales.audit.audit import audit_rationales
from dhrd.rationales.audit.fix import fix
from dhrd.rationales.teacher.answers import Answer, Rationale, judge
from dhrd.rationales.teacher.content import read_content
from dhrd.rationales.teacher.forms import _bare
from dhrd.rationales.teacher.prompt import SENTINEL, Question
from dhrd.rationales.teacher.store import Store
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl

LABELS = LabelSet(("refund", "keep"))
QUESTION = Question(id="r0", prompt="why?", key="k0", label=(0,))
PLAIN = f"Because of x.\n{SENTINEL}\nrefund"


def judged(text: str, finish: str = "stop") -> Any:
    return judge(Answer(text=text, finish=finish), QUESTION, LABELS, label_hidden=True)


THOUGHT = {
    "no opening tag": f"Hmm, then a line {SENTINEL}, then it.\n</think>\n\n{PLAIN}",
    "sentinel in the thought": f"Hmm.\n{SENTINEL}\nkeep\n</think>\n{PLAIN}",
    "a capital": f"<Think>Hmm.\n{SENTINEL}\nkeep</Think>\n{PLAIN}",
    "an attribute": f'<think effort="low">Hmm.</think>\n{PLAIN}',
    "two blocks": f"<think>Hmm.</think>\n<think>Or {SENTINEL}</think>\n{PLAIN}",
    "after a word": f"Well. <think>Hmm.\n{SENTINEL}\nkeep</think>\n{PLAIN}",
    "empty": f"<think>\n\n</think>\n\n{PLAIN}",
    "self-closing": f"<think/>\n{PLAIN}",
    "thinking": f"<thinking>Hmm.</thinking>{PLAIN}",
    "thought": f"<thought>Hmm.</thought>{PLAIN}",
    "reasoning": f"<reasoning>Hmm.</reasoning>\n{PLAIN}",
    "a prefix": f"<seed:think>Hmm.</seed:think>{PLAIN}",
    "Magistral": f"[THINK]Hmm.\n{SENTINEL}\nkeep[/THINK]{PLAIN}",
    "Kimi": f"◁think▷Hmm.◁/think▷{PLAIN}",
    "gpt-oss": f"<|channel|>analysis<|message|>Hmm {SENTINEL}.<|end|>"
    f"<|start|>assistant<|channel|>final<|message|>{PLAIN}<|return|>",
    "gpt-oss without its special tokens": f"analysisHmm.\n{SENTINEL}\nassistantfinal{PLAIN}",
    "Command A": f"<|START_THINKING|>Hmm.<|END_THINKING|>{PLAIN}",
    "begin_of_thought": f"<|begin_of_thought|>Hmm.<|end_of_thought|><|begin_of_solution|>{PLAIN}<|end_of_solution|>",
    "MedGemma": f"<unused94>thought\nHmm.<unused95>{PLAIN}",
    "Granite": f"Here is my thought process:\nHmm.\nHere is my response:\n{PLAIN}",
}


@pytest.mark.parametrize("text", THOUGHT.values(), ids=THOUGHT)
def test_t3_thoughts_are_no_rationale(text: str) -> None:
    assert judged(text) == Rationale("Because of x.", agrees=True)


@pytest.mark.parametrize(
    "text", ["<think>Hmm", f"<think>Hmm.\n{SENTINEL}\nrefund", "<|channel|>analysis<|message|>Hmm"]
)
def test_t3_thinking_that_never_ends_says_nothing(text: str) -> None:
    assert judged(text).reason == "empty"
    cut = judged(text, "length")
    assert (cut.reason, cut.again) == ("cut", False)


def test_t3_tags_around_the_explanation_are_no_thinking() -> None:
    text = f"<reasoning>Because of x.</reasoning>\n{SENTINEL}\n<answer>refund</answer>"
    assert judged(text) == Rationale("Because of x.", agrees=True)


@pytest.mark.parametrize(
    ("text", "explanation"),
    [
        (f"I write {SENTINEL}, then it.", None),
        (
            f"I write {SENTINEL} and go on.\nBecause of x.\n{SENTINEL}\nrefund",
            f"I write {SENTINEL} and go on.\nBecause of x.",
        ),
        (f"A draft.\n{SENTINEL}\nkeep\n\nBecause of x.\n{SENTINEL}\nrefund", "Because of x."),
        (f"Because of x.\n{SENTINEL}\nrefund\n{SENTINEL}\nrefund", "Because of x."),
        (f"Because of x.\n{SENTINEL}\nrefund\n{SENTINEL}\n", "Because of x."),
    ],
)
def test_t3_the_last_sentinel_alone_on_its_line_counts(text: str, explanation: str | None) -> None:
    found = judged(text)
    assert getattr(found, "text", None) == explanation
    assert explanation is not None or found.reason == "no_sentinel"


FORMS = {
    "fenced": f"```\n{PLAIN}\n```",
    "fenced in two": f"```text\nBecause of x.\n```\n{SENTINEL}\n```\nrefund\n```",
    "heading": f"**Explanation**\n{PLAIN}",
    "heading of Markdown": f"## Step-by-step explanation\n\n{PLAIN}",
    "numbered heading": f"1. **Explanation:**\n{PLAIN}",
    "lead-in": f"Sure! Here is the explanation:\n\n{PLAIN}",
    "lead-in, another": f"Certainly, here's a brief explanation of why this is so:\n{PLAIN}",
    "lead-in and fence": f"Okay. Below is my reasoning:\n```\n{PLAIN}\n```",
    "step by step": f"Let's think step by step.\n{PLAIN}",
    "underscores": "Because of x.\n[END_OF_REASONING]\nrefund",
    "escaped": "Because of x.\n\\[END OF REASONING\\]\nrefund",
    "no brackets": "Because of x.\nEND OF REASONING\nrefund",
    "a rule": "Because of x.\n--- End of Reasoning ---\nrefund",
    "other brackets": "Because of x.\n<END OF REASONING>\nrefund",
    "heading as sentinel": "Because of x.\n### **[END OF REASONING]**\n\n**refund**",
    "after the sentence": "Because of x. [END OF REASONING]\nrefund",
    "before the answer": "Because of x.\n[END OF REASONING] refund",
    "Windows lines": PLAIN.replace("\n", "\r\n"),
    "rules around": f"Because of x.\n\n---\n{SENTINEL}\n---\nrefund",
    "special token": f"{PLAIN}<|im_end|>",
    "JSON": '{"explanation": "Because of x.", "answer": "refund"}',
    "JSON in a fence": '```json\n{"Reasoning": "Because of x.", "Final Answer": "refund"}\n```',
    "JSON after a lead-in": 'Here is the JSON you requested:\n{"rationale": "Because of x.", "label": "refund"}',
    "JSON with the sentinel": '{"explanation": "Because of x.\\n[END OF REASONING]", "answer": "refund"}',
    "JSON, then the sentinel": f'{{"explanation": "Because of x."}}\n{SENTINEL}\nrefund',
    "elements": "<explanation>Because of x.</explanation>\n<answer>refund</answer>",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_t12_forms_of_an_answer(text: str) -> None:
    assert judged(text) == Rationale("Because of x.", agrees=True)


@pytest.mark.parametrize(
    "explanation",
    [
        "Reasons for hunting are compared: fur and food.",
        "This is why the customer is owed it: it broke.",
        "Sure signs of wear are named.",
        "It runs\n```\nls\n```\nand then stops.",
        "The words END OF REASONING stand in the mail.",
        "Here the customer writes twice.",
        '{"order": 5} is what the mail holds.',
    ],
)
def test_t12_an_explanation_keeps_its_own_words(explanation: str) -> None:
    assert judged(f"{explanation}\n{SENTINEL}\nrefund") == Rationale(explanation, agrees=True)


def test_t12_real_rationales_are_left_as_they_are(shared_data: Path) -> None:
    texts = [
        row["rationale"]
        for path in (shared_data / "rationales" / "teacher").glob("*.jsonl")
        for row in read_jsonl(path)
    ]
    assert len(texts) > 1000
    assert [text for text in texts if _bare(text) != text.strip()] == []


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


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"text": [{"type": "text", "text": PLAIN}], "finish": "stop"}, PLAIN),  # what was stored unread before
        ({"text": PLAIN, "finish": None, "prompt_tokens": "many", "of_a_later_version": 1}, PLAIN),
        ({"text": {"a": 1}, "refusal": 5}, '{"a": 1}'),
        ([1], "[1]"),
        (7, "7"),
        (None, ""),
    ],
)
def test_t1_no_stored_record_stops_a_run(tmp_path: Path, record: Any, text: str) -> None:
    path = tmp_path / "s.sqlite"
    Store(path).__exit__(None, None, None)
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO answer (key, answer) VALUES ('k', ?)", (json.dumps(record),))
        database.execute("INSERT INTO answer (key, answer) VALUES ('l', '{\"text')")
        database.execute("INSERT INTO answer (key, answer) VALUES ('l', CAST(x'7bff' AS TEXT))")
    database.close()
    with Store(path) as store:
        assert [answer.text for answer in store.answers("k")] == [text]
        assert len(store.answers("l")) == 2
        assert store.totals().prompt_tokens == 0
        assert store.hosts() == []
        for answer in (*store.answers("k"), *store.answers("l")):
            judge(answer, QUESTION, LABELS, label_hidden=True)


def _audit(tmp_path: Path, texts: list[str]) -> Any:
    rows = [
        {"id": f"r{i}", "input_text": f"mail {i} of order {i * 7}", "label": LABELS.names[i % 2]}
        for i in range(len(texts))
    ]
    written = [{"id": f"r{i}", "rationale": text} for i, text in enumerate(texts)]
    return audit_rationales(write_jsonl(tmp_path / "r.jsonl", written), write_jsonl(tmp_path / "d.jsonl", rows))


@pytest.mark.parametrize(
    "mark", ["</think>", "<Thinking a='b'>", "[/THINK]", "◁/think▷", "<|channel|>", "</reasoning>", "assistantfinal"]
)
def test_t3_the_audit_flags_left_over_marks_of_thinking(tmp_path: Path, mark: str) -> None:
    texts = [f"Mail {i} tells of order {i * 7} in its words." for i in range(12)]
    texts[3] += f" {mark} So it is."
    flagged = [line.id for line in _audit(tmp_path, texts).lines if "damaged" in {flag.kind for flag in line.flags}]
    assert flagged == ["r3"]


def test_t3_the_audit_flags_a_beginning_that_nearly_all_share(tmp_path: Path) -> None:
    texts = [f"Hmm, then a line about order {i * 7} of mail {i}." for i in range(39)] + [
        "The order of this mail is named."
    ]
    audit = _audit(tmp_path, texts)
    assert audit.counts["beginning"] == 39
    assert "begins “hmm then a”, as 98% of the file do" in {flag.detail for flag in audit.lines[0].flags}
    assert not any(change.why == ["beginning"] for change in fix(audit, "drop")[1])  # of the file, not of a line
    assert len(fix(audit, "drop", ["beginning"])[1]) == 39
    few = [f"Hmm, then a line about order {i * 7}." for i in range(20)] + [f"Mail {i} tells why." for i in range(20)]
    assert _audit(tmp_path, few).counts["beginning"] == 0
