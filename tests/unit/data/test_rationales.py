"""A file of rationales joined to its rows."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import load_config
from dhrd.data.rationales import join_rationales
from dhrd.data.records import Example
from dhrd.errors import DataError
from helpers.joins import ROWS, is_its_own, train_rows, with_ids, write_rationales
from helpers.reading import load
from helpers.rows import write_jsonl


class TestJoin:
    """Rationales of a second file."""

    EXAMPLES = (Example(id="a", input_text="1"), Example(id="b", input_text="2", rationale="own"), Example(id="c"))

    def test_matched_unmatched_and_unused_are_counted(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        rows = [{"id": "a", "rationale": "A"}, {"id": "zz", "rationale": "Z"}, {"id": "c", "rationale": "C"}]
        path = write_jsonl(tmp_path / "r.jsonl", rows)
        joined = join_rationales(self.EXAMPLES, path)
        assert [one.rationale for one in joined] == ["A", "own", "C"]
        assert [one.id for one in joined] == ["a", "b", "c"]
        counts = "2 rows matched, 1 rows without one, 1 rationales unused"
        assert f"{path}: rationales: {counts}" in [record.getMessage() for record in caplog.records]
        assert self.EXAMPLES[0].rationale is None, "the given rows are left as they were"

    def test_an_integer_id_is_the_same_as_its_text(self, tmp_path: Path) -> None:
        (row,) = load([{"id": 7, "input_text": "a", "label": "x"}])
        joined = join_rationales([row], write_jsonl(tmp_path / "r.jsonl", [{"id": "7", "rationale": "A"}]))
        assert joined[0].rationale == "A"

    def test_a_rationale_may_say_of_which_task_it_is(self, tmp_path: Path) -> None:
        lines = [{"id": "a", "rationale": "A", "task": "mood"}, {"id": "c", "rationale": "C", "task": None}]
        path = write_jsonl(tmp_path / "r.jsonl", lines)
        assert [row.rationale_task for row in join_rationales(self.EXAMPLES, path, ["mood"])] == ["mood", None, None]
        with pytest.raises(DataError, match=r"r\.jsonl:1: task: 'mood' is not one of topic, tags; correct it"):
            join_rationales(self.EXAMPLES, path, ["topic", "tags"])
        assert join_rationales(self.EXAMPLES, path)[0].rationale == "A"  # of one task, what it says plays no part

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"rationale": "A"}, "id: missing; every rationale needs the id of its row"),
            ({"id": "c", "rationale": "A"}, "id: 'c' occurs twice; keep one of the two"),
            ({"id": "a"}, "rationale: missing or empty; leave the line out"),
            ({"id": "a", "rationale": "  "}, "rationale: missing or empty; leave the line out"),
            ({"id": "a", "rationale": 4}, "rationale: 4 is not text"),
            ({"id": "a", "rationale": "\ud83d"}, "rationale: '\\ud83d' at character 0 is half of a surrogate pair"),
            ([1], "a row must be an object"),
        ],
    )
    def test_a_malformed_line_is_named(self, tmp_path: Path, row: Any, message: str) -> None:
        path = tmp_path / "r.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in ({"id": "c", "rationale": "C"}, row)))
        with pytest.raises(DataError) as caught:
            join_rationales(self.EXAMPLES, path)
        assert str(caught.value).startswith(f"{path}:2: {message}")

    def test_ten_malformed_lines_are_reported(self, tmp_path: Path) -> None:
        path = write_jsonl(tmp_path / "r.jsonl", [{"id": "a"}] * 15)
        with pytest.raises(DataError) as caught:
            join_rationales(self.EXAMPLES, path)
        assert len(str(caught.value).splitlines()) == 10

    def test_ids_that_never_match_are_an_error_that_shows_both(self, tmp_path: Path) -> None:
        path = write_jsonl(tmp_path / "r.jsonl", [{"id": "cb-0", "rationale": "A"}])
        with pytest.raises(DataError, match=r"none of its 1 ids \('cb-0' …\) is the id of a row \('a' …\)"):
            join_rationales(self.EXAMPLES, path)

    def test_rows_with_the_same_id_cannot_be_joined(self, tmp_path: Path) -> None:
        path = write_jsonl(tmp_path / "r.jsonl", [{"id": "a", "rationale": "A"}])
        with pytest.raises(DataError, match="the id 'a' occurs twice in the rows"):
            join_rationales([*self.EXAMPLES, Example(id="a")], path)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"r.jsonl: no such file"):
            join_rationales(self.EXAMPLES, tmp_path / "r.jsonl")


def test_l5_the_same_ids_with_other_texts_are_refused_with_a_count_and_names(tmp_path: Path) -> None:
    rationales = write_rationales(tmp_path / "r.jsonl")
    moved = with_ids([{"input_text": "new", "label": "keep"}, *ROWS[:-1]])
    with pytest.raises(DataError, match=r"6 of 6 rationales were written .*\('t-0', 't-1', .* …\)") as e:
        train_rows(tmp_path, moved, rationales)
    assert "\n" not in str(e.value)
    edited = with_ids([*ROWS[:-1], {"input_text": "case number 5, edited", "label": "keep"}])
    with pytest.raises(DataError, match=r"1 of 6 rationales .*\('t-5'\); generate them again, or remove"):
        train_rows(tmp_path, edited, rationales)
    assert all(map(is_its_own, train_rows(tmp_path, with_ids(ROWS), rationales).train))


def test_l5_a_file_without_digests_is_joined_by_ids_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_rationales(tmp_path / "r.jsonl", digests=False)
    assert all(map(is_its_own, train_rows(tmp_path, with_ids(ROWS), path).train))
    lines = [record.getMessage() for record in caplog.records if "joined by id only" in record.getMessage()]
    assert lines == [
        f"{path}: 6 of 6 rationales do not say which text they are about (no input_digest); joined by id only"
    ]


def test_l5_a_file_of_numbered_ids_does_not_meet_rows_without_ids(tmp_path: Path) -> None:
    path = write_rationales(tmp_path / "r.jsonl", digests=False)
    with pytest.raises(DataError, match=r"none of its 6 ids .* rows without ids are identified by their text"):
        train_rows(tmp_path, ROWS, path)


def test_l21_ids_that_match_in_part_are_a_warning_with_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    examples = [Example(id=name, input_text=name) for name in "abc"]
    path = write_jsonl(tmp_path / "r.jsonl", [{"id": "a", "rationale": "A"}, {"id": "z", "rationale": "Z"}])
    with caplog.at_level(logging.WARNING, logger="dhrd"):
        join_rationales(examples, path)
    expected = f"{path}: rationales: 1 rows matched, 2 rows without one, 1 rationales unused"
    assert expected in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("digest", [5, ["a"], True])
def test_l5_a_digest_that_is_none_is_named(tmp_path: Path, digest: Any) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"id": "a", "rationale": "A", "input_digest": digest}) + "\n")
    with pytest.raises(DataError, match=r"r\.jsonl:1: input_digest: .* is not text"):
        join_rationales([Example(id="a", input_text="a")], path)


def test_a_digest_of_the_text_alone_is_of_the_row_whatever_the_template_reads_beside_it(tmp_path: Path) -> None:
    """`rationales convert` digests the text, and training may read it in a template."""
    rows = [{"id": f"r{i}", "input_text": f"text {i}", "city": "Rome", "label": "ab"[i % 2]} for i in range(4)]
    plain = load(rows)
    path = write_jsonl(
        tmp_path / "r.jsonl", [{"id": e.id, "rationale": "why", "input_digest": e.digest} for e in plain]
    )
    in_template = load(rows, load_config(data__input_template="{{ city }}: {{ input_text }}").data)
    assert [row.rationale for row in join_rationales(in_template, path)] == ["why"] * 4
    others = load([{**row, "input_text": "another"} for row in rows])
    with pytest.raises(DataError, match="4 of 4 rationales were written for a different text"):
        join_rationales(others, path)
