"""The audit of a whole file: what each line shows, and how it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dhrd.config import load_config
from dhrd.errors import ConfigError, DataError
from dhrd.rationales.audit.audit import Audit, audit_rationales
from dhrd.rationales.audit.flags import KINDS
from dhrd.rationales.audit.show import facts
from helpers.audit import ROWS, SOUND, audit, lines
from helpers.rows import write_jsonl


def flags(found: Audit) -> list[tuple[str, list[str]]]:
    """The flagged lines by number, with their kinds."""
    return [(line.where.rpartition(":")[2], [flag.kind for flag in line.flags]) for line in found.lines if line.flags]


def test_a_sound_file_has_no_flag(tmp_path: Path) -> None:
    found = audit(tmp_path, lines(SOUND))
    assert flags(found) == []
    assert found.counts == dict.fromkeys(set(KINDS) - {"worthless"}, 0)
    assert (found.num_rows, found.missing) == (len(ROWS), [])
    assert found.alignment.mean_rank == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not valid JSON"),
        ('["r5", "text"]', "must be an object"),
        ('{"rationale": "It rained all day."}', "id: missing"),
        ('{"id": null, "rationale": "It rained all day."}', "id: missing"),
        ('{"id": true, "rationale": "It rained all day."}', "id: True is neither text nor an integer"),
        ('{"id": "r5"}', "rationale: missing or empty"),
        ('{"id": "r5", "rationale": "  "}', "rationale: missing or empty"),
        ('{"id": "r5", "rationale": ["It rained."]}', "rationale: ['It rained.'] is not text"),
        ('{"id": "r5", "rationale": "It \\ud83d rained."}', "half of a surrogate pair"),
    ],
)
def test_malformed_lines_are_flagged_and_the_rest_is_read(tmp_path: Path, line: str, says: str) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", lines(SOUND[:5]))
    path.write_text(path.read_text() + line + "\n" + json.dumps({"id": "r6", "rationale": SOUND[6]}) + "\n")
    found = audit_rationales(path, ROWS)
    assert flags(found) == [("6", ["malformed"])]
    detail = found.lines[5].flags[0].detail
    assert says in detail and str(path) not in detail
    assert found.lines[5].where == f"{path}:6"
    assert [found.missing[0], len(found.missing)] == ["r5", len(ROWS) - 6]


def test_a_line_that_is_no_utf8(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "r.jsonl", lines(SOUND[:5]))
    path.write_bytes(path.read_bytes() + b'{"id": "r5", "rationale": "caf\xe9"}\n')
    assert flags(audit_rationales(path, ROWS)) == [("6", ["malformed"])]


def test_duplicate_and_unmatched_and_missing_ids(tmp_path: Path) -> None:
    written = lines(SOUND[:10])
    written += [{"id": "r2", "rationale": SOUND[2] + " It rained that day."}, {"id": "r99", "rationale": SOUND[15]}]
    written += [{"id": "r99", "rationale": SOUND[16]}]
    found = audit(tmp_path, written)
    assert [(line.id, flag.kind) for line in found.lines for flag in line.flags if flag.kind != "near_duplicate"] == [
        ("r2", "duplicate_id"),
        ("r99", "unmatched_id"),
        ("r99", "duplicate_id"),
        ("r99", "unmatched_id"),
    ]
    assert found.missing == [f"r{number}" for number in range(10, len(ROWS))]
    assert next(facts(found)) == "rows: 10 of 30 have a rationale, 20 have none"


def test_ids_may_be_integers(tmp_path: Path) -> None:
    rows = [{**row, "id": number} for number, row in enumerate(ROWS)]
    found = audit(tmp_path, [{"id": number, "rationale": text} for number, text in enumerate(SOUND)], rows)
    assert (flags(found), found.missing) == ([], [])


def test_forbidden_and_allowed_words(tmp_path: Path) -> None:
    written = lines(SOUND)
    written[1]["rationale"] += " They return it, and send it back."
    assert flags(audit(tmp_path, written)) == [("2", ["label_leak"])]
    assert flags(audit(tmp_path, written, allow=["return"])) == []
    assert flags(audit(tmp_path, written, allow=["return"], forbid=["sen[dt] it"])) == [("2", ["label_leak"])]
    with pytest.raises(ConfigError, match=r"^`forbid`: not a regular expression"):
        audit(tmp_path, written, forbid=["("])


def test_a_tasks_own_words_are_looked_for(tmp_path: Path, shared_data: Path) -> None:
    config = load_config(data__superglue_root=str(shared_data / "superglue"))
    path = write_jsonl(tmp_path / "r.jsonl", [{"id": "wsc-train-0", "rationale": "Here the pronoun refers to Pete."}])
    found = audit_rationales(path, "superglue:wsc", config=config)
    assert "label_leak" in [flag.kind for flag in found.lines[0].flags]
    path = write_jsonl(tmp_path / "v.jsonl", [{"id": "wsc-validation-0", "rationale": "It is as plain as day here."}])
    assert audit_rationales(path, "superglue:wsc", config=config, split="validation").counts["unmatched_id"] == 0


def mapped(tmp_path: Path, template: str = "{{ text }}", **more: str) -> Audit:
    """An audit of rows whose label stands in the column `verdict`; the first rationale names it."""
    rows = [{"id": row["id"], "text": row["input_text"], "verdict": row["label"], **more} for row in ROWS]
    written = lines(SOUND)
    written[0]["rationale"] += " They repair it."
    columns = {"data__columns": {"input_text": "text", "label": "verdict"}}
    return audit(tmp_path, written, rows, config=load_config(**columns, data__input_template=template))


def test_a_label_in_a_column_of_another_name_is_no_text_of_the_row(tmp_path: Path) -> None:
    assert flags(mapped(tmp_path)) == [("1", ["label_leak"])]


@pytest.mark.parametrize("template", ["{{ text }}", "{{ row | tojson }}"])
def test_a_mapped_label_is_not_told_from_the_input(tmp_path: Path, template: str) -> None:
    accuracy = mapped(tmp_path, template).leak.input_accuracy
    assert accuracy is not None and accuracy < 0.9


def test_several_labels_a_row(tmp_path: Path) -> None:
    rows = [{**row, "label": [row["label"]] if number % 3 else []} for number, row in enumerate(ROWS)]
    found = audit(tmp_path, lines(SOUND), rows)
    assert found.leak.rationale_accuracy is None
    assert "not measured, as rows may have several labels" in "\n".join(facts(found))


def test_a_file_without_any_rationale(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rationales.jsonl: no line has an id and a rationale; .*convert"):
        audit(tmp_path, [{"id": "r1"}, ["r2"], {"id": "r3", "explanation": "So."}])
    with pytest.raises(DataError, match="no line has an id and a rationale"):
        audit(tmp_path, [])
