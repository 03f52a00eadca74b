"""What joins a rationale to its row: its id and the digest of its text. The letters name reported situations."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.config import DataSettings, load_config
from dhrd.data.records import Example
from dhrd.data.rows import load_rows
from dhrd.data.sources import open_source
from dhrd.rationales.audit.audit import audit_rationales
from dhrd.rationales.audit.fix import fix
from dhrd.rationales.convert import convert_rationales, shape_of
from helpers.endpoint import FaultyEndpoint, serving
from helpers.joins import ROWS, is_its_own, train_rows, with_ids, write_rationales
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl
from helpers.teacher import ask


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rationales of the rows above, which have no ids; the teacher repeats the case's number."""
    folder = tmp_path_factory.mktemp("generated")
    data = write_jsonl(folder / "t.jsonl", ROWS)
    with serving(FaultyEndpoint()) as endpoint:
        ask(endpoint, data, folder / "r.jsonl")
    return folder / "r.jsonl"


CHANGES = {
    "a row in front": lambda rows: [{"input_text": "new", "label": "keep"}, *rows],
    "a row taken out": lambda rows: rows[1:],
    "shuffled": lambda rows: [rows[i] for i in (3, 0, 5, 1, 4, 2)],
    "reversed, one added": lambda rows: [*rows[::-1], {"input_text": "new", "label": "keep"}],
}


@pytest.mark.parametrize("change", CHANGES)
def test_l5_rows_without_ids_keep_their_rationales(tmp_path: Path, generated: Path, change: str) -> None:
    rows = CHANGES[change](ROWS)  # type: ignore[no-untyped-call]
    found = train_rows(tmp_path, rows, generated).train
    known = [example for example in found if example.input_text != "new"]
    assert len(known) == sum(row in ROWS for row in rows) > 0
    assert all(map(is_its_own, known))
    assert all(example.rationale is None for example in found if example.input_text == "new")


def test_l5_other_names_formats_and_limits_join_by_the_text(tmp_path: Path, generated: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("review,label\r\n" + "".join(f" {r['input_text']} ,{r['label']}\r\n" for r in ROWS[::-1]))
    settings = {"data__columns": {"input_text": "review"}, "data__input_template": "Review: {{ input_text }}"}
    config = load_config(data__train=str(path), data__rationales=str(generated), data__train_limit=3, **settings)
    found = load_rows(config).train
    assert [is_its_own(Example(input_text=e.input_text.strip(), rationale=e.rationale)) for e in found] == [True] * 3


def test_l5_every_rationale_carries_the_digest_of_its_text(tmp_path: Path, generated: Path) -> None:
    rows, examples = read_jsonl(generated), open_source(ROWS, DataSettings()).load()
    assert [row["input_digest"] for row in rows] == [example.digest for example in examples]
    assert [row["id"] for row in rows] == [example.id for example in examples] == [row["input_digest"] for row in rows]
    kept, _ = fix(audit_rationales(generated, ROWS), "drop", ["malformed"])
    assert [row["input_digest"] for row in kept] == [row["input_digest"] for row in rows], "audit --fix keeps it"
    convert_rationales(generated, tmp_path / "c.jsonl", shape_of("columns"))
    assert [row["input_digest"] for row in read_jsonl(tmp_path / "c.jsonl")] == [row["input_digest"] for row in rows]


def test_l5_a_shape_with_texts_gets_their_digests(tmp_path: Path) -> None:
    given = [{"id": "a", "rationale": "because", **ROWS[0]}, {"id": "b", "rationale": "so", "label": "keep"}]
    convert_rationales(write_jsonl(tmp_path / "s.jsonl", given), tmp_path / "o.jsonl", shape_of("columns"))
    found = read_jsonl(tmp_path / "o.jsonl")
    assert found[0]["input_digest"] == open_source(ROWS, DataSettings()).load()[0].digest
    assert "input_digest" not in found[1]


def test_l5_the_audit_flags_a_rationale_of_another_text(tmp_path: Path) -> None:
    edited = with_ids([*ROWS[:-1], {"input_text": "case number 5, edited", "label": "return"}])
    found = audit_rationales(write_rationales(tmp_path / "r.jsonl"), edited)
    assert found.counts["other_text"] == 1
    kept, changes = fix(found, "drop", ["other_text"])
    assert [row["id"] for row in kept] == ["t-0", "t-1", "t-2", "t-3", "t-4"]
    assert [change.why for change in changes] == [["other_text"]]


def test_l5_rows_of_one_text_keep_ids_of_their_own(tmp_path: Path) -> None:
    twice = [*ROWS, ROWS[0]]
    data, output = write_jsonl(tmp_path / "d.jsonl", twice), tmp_path / "o.jsonl"
    with serving(FaultyEndpoint()) as endpoint:
        ask(endpoint, data, output)
    lines = read_jsonl(output)
    assert [line["id"] for line in lines][-1] == lines[0]["id"] + "-2"
    assert lines[-1]["input_digest"] == lines[0]["input_digest"]
    assert all(map(is_its_own, train_rows(tmp_path, twice, output).train))


def test_l5_a_template_over_columns_makes_the_digest_of_these(tmp_path: Path) -> None:
    rows = [{"premise": f"p{i}", "hypothesis": "same", "label": "x", "note": i} for i in range(3)]
    plain, other = "{{ premise }} {{ hypothesis }}", "Is {{ hypothesis }} so, given {{ premise }}?"
    digests = [
        [e.digest for e in open_source(rows, DataSettings(input_template=template)).load()]
        for template in (plain, other, '{{ row["premise"] }} / {{ hypothesis }}')
    ]
    assert digests[0] == digests[1] == digests[2], "the words around the columns change nothing"
    assert len(set(digests[0])) == 3
    changed = [{**row, "note": 7, "label": "y"} for row in rows]
    assert [e.digest for e in open_source(changed, DataSettings(input_template=plain)).load()] == digests[0]
