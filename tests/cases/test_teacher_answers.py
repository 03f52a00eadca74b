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
from dhrd.rationales.teacher.answers import judge
from dhrd.rationales.teacher.prompt import SENTINEL, Question
from dhrd.rationales.teacher.store import Store
from helpers.rows import write_jsonl

LABELS = LabelSet(("refund", "keep"))


QUESTION = Question(id="r0", prompt="why?", key="k0", label=(0,))


PLAIN = f"Because of x.\n{SENTINEL}\nrefund"


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
