"""A label audit for a script, for a terminal and as a page."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dhrd.data.records import Example, LabelSet
from dhrd.run.audit.labels import CLASSIFIER, RATIONALE, AuditedLabel, LabelAudit, Statement
from dhrd.run.audit.report import label_record, print_label_audit, write_label_audit, write_label_page
from helpers.reading import read
from helpers.runs import read_jsonl

DOUBTED = AuditedLabel(
    Example(id="r1", input_text="<b>twice</b> charged\x07", rationale="Money & more.", where="train.jsonl:1"),
    "crash",
    (Statement(CLASSIFIER, "bill", 0.1, True), Statement(RATIONALE, "login", 0.2, True)),
)
GOOD = AuditedLabel(Example(id="r2", input_text="fine"), "bill", (Statement(CLASSIFIER, "bill", 0.9, False),))


def audit_of(*rows: AuditedLabel, num_rationales: int = 1) -> LabelAudit:
    labels = LabelSet(names=("bill", "crash", "login"))
    return LabelAudit(data="train.jsonl", labels=labels, rows=list(rows), num_rationales=num_rationales)


def test_a_line_a_row_with_what_each_witness_says(tmp_path: Path) -> None:
    write_label_audit(audit_of(DOUBTED, GOOD), tmp_path / "labels.jsonl")
    first, second = read_jsonl(tmp_path / "labels.jsonl")
    assert first == {
        "id": "r1",
        "where": "train.jsonl:1",
        "label": "crash",
        "rather": "bill",
        "doubts": 2,
        "quality": pytest.approx(0.15),
        "witnesses": {
            "classifier": {"label": "bill", "probability": 0.1, "doubts": True},
            "rationale": {"label": "login", "probability": 0.2, "doubts": True},
        },
    }
    assert second["doubts"] == 0 and label_record(GOOD)["rather"] == "bill"


def test_the_table_shows_what_is_doubted(capsys: pytest.CaptureFixture[str]) -> None:
    print_label_audit(audit_of(DOUBTED, GOOD))
    out = capsys.readouterr().out
    assert "r1" in out and "classifier, rationale" in out and "r2" not in out
    assert "1 of 2 labels are doubted, 1 by both witnesses" in out and "\x07" not in out
    print_label_audit(audit_of(GOOD, num_rationales=0))
    assert "the only witness" in capsys.readouterr().out


def test_the_page_holds_the_doubted_rows_as_text(tmp_path: Path) -> None:
    write_label_page(audit_of(DOUBTED, GOOD), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    HTMLParser().feed(page)
    assert "&lt;b&gt;twice&lt;/b&gt;" in page and "Money &amp; more." in page and "\x07" not in page
    assert page.count('<section class="row">') == 1 and "fine" not in page
    assert "http" not in page, "self-contained"


def test_a_person_sees_what_the_classifier_read_and_no_column_that_holds_the_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"nr": "7", "body": "twice charged", "queue": "crash", "label": "crash"}
    (example,) = read([row], data__columns={"input_text": "body", "id": "nr"})
    audit = audit_of(replace(DOUBTED, example=example))
    print_label_audit(audit)
    assert capsys.readouterr().out.count("crash") == 1  # the label given
    write_label_page(audit, tmp_path / "page.html")
    assert '<div class="text">twice charged</div>' in (tmp_path / "page.html").read_text()
