"""Cleaned files: what is dropped or cut off, what stays, and the list of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import helpers.audit
from dhrd.config.data import DataSettings
from dhrd.data.rationales import join_rationales
from dhrd.data.sources import open_source
from dhrd.errors import ConfigError
from dhrd.rationales.audit.audit import Audit, audit_rationales
from dhrd.rationales.audit.fix import Change, fix
from helpers.audit import cases, faulty, lines
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl

ROWS, SOUND = cases(20)


def audit(tmp_path: Path, written: Sequence[Any]) -> Audit:
    """Twenty rows, as `faulty` needs them."""
    return helpers.audit.audit(tmp_path, written, ROWS)


KINDS_OF = {
    "r2": ["label_leak"],
    "r3": ["label_leak", "misaligned"],
    "r4": ["label_leak"],
    "r5": ["misaligned"],
    "r6": ["misaligned", "length"],
    "r7": ["truncated"],
    "r8": ["damaged"],
    "r9": ["language"],
    "r12": ["misaligned", "near_duplicate"],
    "r1": ["duplicate_id", "misaligned"],
    "nobody": ["unmatched_id"],
    "": ["malformed"],
}


def test_each_fault_is_flagged(tmp_path: Path) -> None:
    found = audit(tmp_path, faulty())
    assert {line.id: [flag.kind for flag in line.flags] for line in found.lines if line.flags} == KINDS_OF


def test_drop_leaves_out_every_line_with_a_flag(tmp_path: Path) -> None:
    kept, changes = fix(audit(tmp_path, faulty()), "drop")
    assert kept == [{"id": f"r{number}", "rationale": SOUND[number]} for number in (0, 1, 10, 11)]
    assert {change.action for change in changes} == {"dropped"}
    assert len(changes) == len(faulty()) - len(kept)
    assert {change.id: change.why for change in changes} == KINDS_OF


@pytest.mark.parametrize(
    ("kinds", "dropped"),
    [
        (["truncated"], {"r7"}),
        (["label_leak"], {"r2", "r3", "r4"}),
        (["length", "damaged"], {"r6", "r8"}),
        (["unmatched_id"], {"nobody"}),
        (["malformed"], set()),
    ],
)
def test_drop_of_some_kinds(tmp_path: Path, kinds: list[str], dropped: set[str]) -> None:
    found = audit(tmp_path, faulty())
    kept, changes = fix(found, "drop", kinds)
    whole = {line.id for line in found.lines if line.id}
    assert {row["id"] for row in kept} == whole - dropped
    listed = [change for change in changes if change.id in dropped]
    assert {kind for change in listed for kind in change.why} <= set(kinds)
    assert [change.why for change in changes if change.id not in dropped] == [["duplicate_id"], *[["malformed"]] * 3]


@pytest.mark.parametrize("mode", ["drop", "strip"])
@pytest.mark.parametrize("kinds", [[], ["label_leak"]])
def test_what_training_cannot_read_is_never_kept(tmp_path: Path, mode: Any, kinds: list[str]) -> None:
    path = write_jsonl(tmp_path / "clean.jsonl", fix(audit(tmp_path, faulty()), mode, kinds)[0])
    examples = open_source(ROWS, DataSettings()).load()
    joined = join_rationales(examples, path)
    rows = {row["id"]: row["rationale"] for row in read_jsonl(path)}
    assert {row.id: row.rationale for row in joined if row.rationale} == {
        i: t for i, t in rows.items() if i != "nobody"
    }
    assert sum(row.rationale is not None for row in joined) >= 4
    assert rows["r1"] == SOUND[1]


def test_strip_cuts_verdicts_off_the_end(tmp_path: Path) -> None:
    verdicts = ["So they return it.", "Therefore, return.", "The correct answer is return. Hence, repair is wrong."]
    written = lines(SOUND)
    for line, verdict in zip(written, verdicts, strict=False):
        line["rationale"] += f" {verdict}"
    written[4]["rationale"] = "So the answer is repair."
    written[5]["rationale"] = f"Return it is. {SOUND[5]}"
    written[6]["rationale"] = f"Repair it is. {SOUND[6]} So they repair it."
    kept, changes = fix(audit(tmp_path, written), "strip")
    texts = {row["id"]: row["rationale"] for row in kept}
    assert texts.pop("r5") == written[5]["rationale"]
    assert texts.pop("r6") == f"Repair it is. {SOUND[6]}"
    assert texts == {f"r{i}": text for i, text in enumerate(SOUND) if i not in (4, 5, 6)}
    assert [(c.id, c.action, c.why, c.removed) for c in changes] == [
        *((f"r{i}", "stripped", ["label_leak"], verdict) for i, verdict in enumerate(verdicts)),
        ("r4", "dropped", ["label_leak"], "So the answer is repair."),
        ("r5", "left", ["label_leak remains"], ""),
        ("r6", "stripped", ["label_leak remains"], "So they repair it."),
    ]


def test_strip_touches_no_other_kind(tmp_path: Path) -> None:
    found = audit(tmp_path, faulty())
    kept, changes = fix(found, "strip")
    texts = {row["id"]: row["rationale"] for row in kept}
    assert {change.id for change in changes} == {"r1", "r2", "r3", "r4", ""}
    untouched = {"r5", "r6", "r7", "r8", "r9", "r12", "nobody"}
    assert {row_id: texts[row_id] for row_id in untouched} == {
        line.id: line.text for line in found.lines if line.id in untouched
    }


def test_strip_leaves_a_word_of_the_rows_own_text(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", [{"id": "r0", "rationale": "Repair it, they say. They ask for a return."}])
    rows = [{"id": "r0", "input_text": "Can I return it?", "label": "return"}, {**ROWS[1], "label": "repair"}]
    (row,) = fix(audit_rationales(path, rows), "strip")[0]
    assert row["rationale"] == "Repair it, they say. They ask for a return."


@pytest.mark.parametrize("mode", ["drop", "strip"])
def test_other_columns_and_the_order_survive(tmp_path: Path, mode: Any) -> None:
    more = {"teacher": "someone", "cost": 0.5, "tags": ["a", {"b": None}]}
    written = [{**more, **line} for line in reversed(lines(SOUND))]
    written[3]["rationale"] += " So they return it."
    kept, changes = fix(audit(tmp_path, written), mode)
    assert len(changes) == 1
    assert [row["id"] for row in kept] == [row["id"] for row in written if mode == "strip" or row is not written[3]]
    assert all({name: row[name] for name in more} == more for row in kept)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`kinds` nonsense: unknown; kinds are malformed, .*language"):
        fix(audit(tmp_path, faulty()), "drop", ["label_leak", "nonsense"])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (Change(where="f:1", id="r1", action="dropped", why=["a", "b"], removed="It."), "dropped r1 (a, b): “It.”"),
        (Change(where="f:1", id="", action="dropped", why=["malformed"]), "dropped f:1 (malformed)"),
        (Change(where="f:1", id="r1", action="left", why=["label_leak remains"]), "left r1 (label_leak remains)"),
    ],
)
def test_a_change_in_a_line(change: Change, line: str) -> None:
    assert change.line() == line
