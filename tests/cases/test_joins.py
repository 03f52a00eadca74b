"""What joins a rationale to its row: its id and the digest of its text. The letters name reported situations."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import DataSettings, load_config
from dhrd.data.rationales import join_rationales
from dhrd.data.records import Example
from dhrd.data.rows import Rows, load_rows
from dhrd.data.sources import open_source
from dhrd.errors import DataError
from dhrd.rationales.audit.audit import audit_rationales
from dhrd.rationales.audit.fix import fix
from dhrd.rationales.convert import convert_rationales, shape_of
from helpers.endpoint import FaultyEndpoint, serving
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl
from helpers.teacher import ask

ROWS = [{"input_text": f"case number {i}", "label": ("keep", "return")[i % 2]} for i in range(6)]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rationales of the rows above, which have no ids; the teacher repeats the case's number."""
    folder = tmp_path_factory.mktemp("generated")
    data = write_jsonl(folder / "t.jsonl", ROWS)
    with serving(FaultyEndpoint()) as endpoint:
        ask(endpoint, data, folder / "r.jsonl")
    return folder / "r.jsonl"


def train_rows(folder: Path, rows: list[dict[str, Any]], rationales: Path, **data: Any) -> Rows:
    """What training would read."""
    path = write_jsonl(folder / "t.jsonl", rows)
    return load_rows(load_config(data__train=str(path), data__rationales=str(rationales), **data))


def is_its_own(example: Example) -> bool:
    """Whether a row has the rationale that was written for its text."""
    number = example.input_text.removeprefix("case number ")
    return example.rationale is not None and f"case number {number}" in example.rationale


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


def with_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": f"t-{i}", **row} for i, row in enumerate(rows)]


def write_rationales(path: Path, digests: bool = True) -> Path:
    examples = open_source(with_ids(ROWS), DataSettings()).load()
    lines = [{"id": e.id, "rationale": f"about {e.input_text}", "input_digest": e.digest} for e in examples]
    return write_jsonl(path, lines if digests else [{k: line[k] for k in ("id", "rationale")} for line in lines])


def test_l5_the_same_ids_with_other_texts_are_refused_with_a_count_and_names(tmp_path: Path) -> None:
    rationales = write_rationales(tmp_path / "r.jsonl")
    moved = with_ids([{"input_text": "new", "label": "keep"}, *ROWS[:-1]])
    with pytest.raises(DataError, match=r"6 of 6 rationales were written .*\('t-0', 't-1', .* …\)") as e:
        train_rows(tmp_path, moved, rationales)
    assert "\n" not in str(e.value)
    edited = with_ids([*ROWS[:-1], {"input_text": "case number 5, edited", "label": "keep"}])
    with pytest.raises(DataError, match=r"1 of 6 rationales .*\('t-5'\); generate them again, or take"):
        train_rows(tmp_path, edited, rationales)
    assert all(map(is_its_own, train_rows(tmp_path, with_ids(ROWS), rationales).train))


def test_l5_the_audit_flags_a_rationale_of_another_text(tmp_path: Path) -> None:
    edited = with_ids([*ROWS[:-1], {"input_text": "case number 5, edited", "label": "return"}])
    found = audit_rationales(write_rationales(tmp_path / "r.jsonl"), edited)
    assert found.counts["other_text"] == 1
    kept, changes = fix(found, "drop", ["other_text"])
    assert [row["id"] for row in kept] == ["t-0", "t-1", "t-2", "t-3", "t-4"]
    assert [change.why for change in changes] == [["other_text"]]


def test_l5_a_file_without_digests_is_joined_by_ids_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_rationales(tmp_path / "r.jsonl", digests=False)
    assert all(map(is_its_own, train_rows(tmp_path, with_ids(ROWS), path).train))
    lines = [record.getMessage() for record in caplog.records if "joined by id alone" in record.getMessage()]
    assert lines == [
        f"{path}: 6 of 6 rationales do not say which text they are about (no input_digest): joined by id alone"
    ]


def test_l5_a_file_of_numbered_ids_does_not_meet_rows_without_ids(tmp_path: Path) -> None:
    path = write_rationales(tmp_path / "r.jsonl", digests=False)
    with pytest.raises(DataError, match=r"none of its 6 ids .* rows without ids are named by their text"):
        train_rows(tmp_path, ROWS, path)


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


def test_l21_ids_that_match_in_part_are_a_warning_with_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    examples = [Example(id=name, input_text=name) for name in "abc"]
    path = write_jsonl(tmp_path / "r.jsonl", [{"id": "a", "rationale": "A"}, {"id": "z", "rationale": "Z"}])
    with caplog.at_level(logging.WARNING, logger="dhrd"):
        join_rationales(examples, path)
    expected = f"{path}: rationales: 1 rows matched, 2 rows without one, 1 rationales of no row"
    assert expected in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("digest", [5, ["a"], True])
def test_l5_a_digest_that_is_none_is_named(tmp_path: Path, digest: Any) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"id": "a", "rationale": "A", "input_digest": digest}) + "\n")
    with pytest.raises(DataError, match=r"r\.jsonl:1: input_digest: .* is not text"):
        join_rationales([Example(id="a", input_text="a")], path)
