"""Rationales from files of other shapes: the human sources of SuperGLUE tasks, and small records."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dhrd.config import DataSettings
from dhrd.data.sources import open_source
from dhrd.errors import ConfigError, DataError
from dhrd.rationales.convert import SHAPES, Converted, convert_rationales, shape_of
from helpers.audit import taught
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl


class TestRealData:
    """People's explanations, where they are."""

    @staticmethod
    def convert(shared_data: Path, shape: str, output: Path) -> tuple[Path, Converted, dict[str, str]]:
        source = shared_data / "rationales" / "human" / f"{shape.replace('-', '_')}.jsonl"
        found = convert_rationales(source, output, shape_of(shape))
        rows = read_jsonl(output)
        assert all(
            set(row) == {"id", "rationale", "teacher"} and row["teacher"] == SHAPES[shape].teacher for row in rows
        )
        rationales = {row["id"]: row["rationale"] for row in rows}
        assert found.num_rationales == len(rows) == len(rationales)
        assert not set(rationales) & set(found.conflicting)
        return source, found, rationales

    @staticmethod
    def of_split(rationales: dict[str, str], split: str) -> dict[str, str]:
        return {row_id: text for row_id, text in rationales.items() if row_id.split("-")[1] == split}

    def test_copa_sse(self, shared_data: Path, tmp_path: Path) -> None:
        source, found, rationales = self.convert(shared_data, "copa-sse", tmp_path / "copa.jsonl")
        assert (found.num_records, found.conflicting) == (1000, [])
        train = self.of_split(rationales, "train")
        assert set(train) == {example.id for example in taught(shared_data, "copa").examples}
        assert len(train) == 400
        assert Counter(row_id.split("-")[1] for row_id in rationales) == {"train": 400, "validation": 100}
        records = [record for record in read_jsonl(source) if record.get("superglue_idx") is not None]
        assert len(records) == 500
        for record in records:
            split = record["superglue_split"].replace("val", "validation")
            assert rationales[f"copa-{split}-{record['superglue_idx']}"] == " ".join(record["best_explanation"].split())

    def test_winowhy(self, shared_data: Path, tmp_path: Path) -> None:
        source, found, rationales = self.convert(shared_data, "winowhy", tmp_path / "wsc.jsonl")
        assert (found.num_records, found.conflicting) == (273, ["wsc-train-199"])
        train = self.of_split(rationales, "train")
        assert len(train) == 361
        assert set(train) <= {example.id for example in taught(shared_data, "wsc").examples}
        valid = {
            " ".join(text.split())
            for record in read_jsonl(source)
            for text, who, _, judged in record["reasons"]
            if (who, judged) == ("human", "Valid")
        }
        assert set(rationales.values()) <= valid

    def test_multirc_evidence(self, shared_data: Path, tmp_path: Path) -> None:
        _, found, rationales = self.convert(shared_data, "multirc-evidence", tmp_path / "multirc.jsonl")
        assert found.num_records == 6084
        train = self.of_split(rationales, "train")
        assert len(train) > 27_000
        rows = {example.id: example for example in taught(shared_data, "multirc").examples}
        assert set(train) <= set(rows)
        # The evidence is of the paragraph of its own row, but for a few whose sentences were mended since.
        quoted = sum(words(train[row_id][:40]) in words(str(rows[row_id].fields["paragraph"])) for row_id in train)
        assert quoted / len(train) > 0.95


def words(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def convert(tmp_path: Path, records: Sequence[Any], shape: str = "columns", **parts: str) -> list[dict[str, Any]]:
    tmp_path.mkdir(exist_ok=True)
    source = write_jsonl(tmp_path / "source.jsonl", records)
    convert_rationales(source, tmp_path / "out.jsonl", shape_of(shape, **parts))
    return read_jsonl(tmp_path / "out.jsonl")


def problem(tmp_path: Path, records: Sequence[Any], shape: str = "columns", **parts: str) -> str:
    with pytest.raises(DataError) as caught:
        convert(tmp_path, records, shape, **parts)
    assert not (tmp_path / "out.jsonl").exists()
    return str(caught.value).removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.csv", 'key,why,other\n1,"It rained, so\nit is wet.",x\n2,Nobody came.,y\n'),
        ("s.tsv", "key\twhy\n1\tIt rained,  so it is wet.\n2\tNobody came.\n"),
        ("s.json", json.dumps([{"key": 1, "why": "It rained,  so it is wet."}, {"key": 2, "why": "Nobody came."}])),
        ("s.jsonl", '{"key": "1", "why": " It rained, so\\nit is wet. "}\n\n{"key": 2, "why": "Nobody came."}\n'),
    ],
)
def test_columns_by_name_of_any_kind_of_file(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = convert_rationales(tmp_path / name, tmp_path / "o.jsonl", shape_of("columns", id="key", rationale="why"))
    assert found == Converted(num_records=2, num_rationales=2, num_without=0, conflicting=[])
    assert read_jsonl(tmp_path / "o.jsonl") == [
        {"id": "1", "rationale": "It rained, so it is wet."},
        {"id": "2", "rationale": "Nobody came."},
    ]


NESTED = {
    "meta": {"key": "a1", "split": "val"},
    "notes": [{"text": "First."}, {"text": "Second.", "by": ["Ann", "Bo"]}],
}


@pytest.mark.parametrize(
    ("parts", "row"),
    [
        ({"id": "meta.key", "rationale": "notes.1.text"}, {"id": "a1", "rationale": "Second."}),
        ({"id": "meta.key", "rationale": "notes.1.by.0"}, {"id": "a1", "rationale": "Ann"}),
        (
            {"id": "{{ meta.split }}-{{ meta.key }}", "rationale": "{{ notes | map(attribute='text') | join(' ') }}"},
            {"id": "val-a1", "rationale": "First. Second."},
        ),
        (
            {"id": "meta.key", "rationale": "notes.0.text", "teacher": "Ann"},
            {"id": "a1", "rationale": "First.", "teacher": "Ann"},
        ),
        ({"id": "meta.key", "choices": "notes", "rationale": "found.text"}, {"id": "a1", "rationale": "First."}),
        (
            {
                "id": "meta.key",
                "choices": "notes",
                "rationale": "found.text",
                "where": "{{ found.by is defined }}",
            },
            {"id": "a1", "rationale": "Second."},
        ),
    ],
)
def test_paths_and_templates(tmp_path: Path, parts: dict[str, str], row: dict[str, str]) -> None:
    assert convert(tmp_path, [NESTED], **parts) == [row]


def test_a_record_of_several_rows(tmp_path: Path) -> None:
    record = {
        "of": [{"key": "a", "counts": True}, {"key": "b", "counts": False}, {"key": "c", "counts": True}],
        "why": "So.",
    }
    parts = {"rows": "of", "id": "row.key", "rationale": "why"}
    assert [row["id"] for row in convert(tmp_path, [record], **parts)] == ["a", "b", "c"]
    assert [row["id"] for row in convert(tmp_path, [record], **parts, where="row.counts")] == ["a", "c"]


@pytest.mark.parametrize(
    ("ratings", "chosen"),
    [
        ([1, 3, 2], 1),
        ([3, 3, 2], 0),
        ([2, 3.5, 3.5], 1),
        ([-1, -2, -3], 0),
        ([0, 0.0, 0], 0),
        ([float("nan"), 4, 3], 1),
    ],
)
@pytest.mark.parametrize("as_list", [False, True])
def test_the_best_rating_wins_and_the_first_of_equals(
    tmp_path: Path, ratings: list[float], chosen: int, as_list: bool
) -> None:
    said = [f"choice {number}" for number in range(len(ratings))]
    pairs = zip(said, ratings, strict=True)
    choices = [[text, rating] if as_list else {"text": text, "by": {"mean": rating}} for text, rating in pairs]
    parts = ("found.0", "1") if as_list else ("found.text", "by.mean")
    rows = convert(tmp_path, [{"id": "a", "all": choices}], choices="all", rationale=parts[0], rating=parts[1])
    assert rows == [{"id": "a", "rationale": said[chosen]}]


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"rationale": "why"}, "`rationale` why: there is no such column; give one of id, text, n"),
        ({"id": "key"}, "`id` key: there is no such column; give one of id, text, n"),
        ({"rationale": "n"}, "`rationale` n: is {'deep': [1]}, not text"),
        ({"rationale": "{{ text.upper( }}"}, None),
        ({"rationale": "{{ nope }}"}, "`rationale`: 'nope' is undefined"),
        ({"rationale": "text", "rows": "of"}, "`rows` of: is not a list here"),
        ({"rationale": "text", "rows": "n.deep.zero"}, "`rows` n.deep.zero: is not a list here"),
        ({"rationale": "text", "choices": "text"}, "`choices` text: is not a list here"),
        ({"rationale": "text", "choices": "n.deep", "rating": "stars"}, "`rating` stars: None is not a number"),
        ({"rationale": "text", "id": "n.key"}, "`id` n.key: is empty here"),
    ],
)
def test_what_a_record_lacks_is_one_line_with_its_place(
    tmp_path: Path, parts: dict[str, str], says: str | None
) -> None:
    good = {"id": "a", "text": "So.", "n": {"deep": [1]}}
    if says is None:
        with pytest.raises(ConfigError, match=r"^`rationale`: .*\(line 1\)$"):
            convert(tmp_path, [good], **parts)
        return
    message = problem(tmp_path, [good], **parts)
    assert message.startswith(f"source.jsonl:1: {says}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"id": 7.0, "rationale": "So."}, ["7"]),
        ({"id": 7, "rationale": "So."}, ["7"]),
        ({"id": " a  b", "rationale": "So."}, [" a  b"]),
        ({"id": "a", "rationale": math.nan}, []),
    ],
)
def test_values_are_read_as_rows_are(tmp_path: Path, record: dict[str, Any], expected: list[str]) -> None:
    rows = convert(tmp_path, [record, {"id": "last", "rationale": "Well."}])
    assert [row["id"] for row in rows] == [*expected, "last"]
    written = write_jsonl(tmp_path / "rows.jsonl", [{"input_text": "x", "label": "y", **record}])
    (read,) = open_source(written, DataSettings()).load()
    assert not expected or read.id == expected[0]


@pytest.mark.parametrize("column", ["{{ why }}", "why"])
def test_a_null_is_no_word(tmp_path: Path, column: str) -> None:
    records = [{"id": "a", "why": math.nan}, {"id": "b", "why": "So."}]
    if column == "why":
        assert [row["id"] for row in convert(tmp_path, records, rationale=column)] == ["b"]
    else:
        assert "a column that it uses is null" in problem(tmp_path, records, rationale=column)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"id": "a", "rationale": True}, "`rationale` rationale: True is not text; put it in quotes, or leave it out"),
        ({"id": "a", "rationale": 1.5}, "`rationale` rationale: 1.5 is not text; put it in quotes, or leave it out"),
        ({"id": False, "rationale": "So."}, "`id` id: False is neither text nor an integer; correct the row"),
        ({"id": 1.5, "rationale": "So."}, "`id` id: 1.5 is neither text nor an integer; correct the row"),
        ({"id": math.nan, "rationale": "So."}, "`id` id: is empty here; every rationale needs an id"),
    ],
)
def test_what_is_not_text_is_refused(tmp_path: Path, record: dict[str, Any], says: str) -> None:
    assert problem(tmp_path, [record]) == f"source.jsonl:1: {says}"


def test_a_name_with_a_dot_is_a_column_before_it_is_a_path(tmp_path: Path) -> None:
    record = {"Ticket No.": "a", "v": {"1.0": "So.", "1": ["Not so."]}, "x.y": None, "x": {"y": "Never."}}
    assert convert(tmp_path, [record], id="Ticket No.", rationale="v.1.0") == [{"id": "a", "rationale": "So."}]
    assert convert(tmp_path, [record], id="Ticket No.", rationale="v.1.0", where="{{ row['x.y'] is none }}")
    assert "none of its 1 records" in problem(tmp_path / "b", [record], id="Ticket No.", rationale="x.y")


def test_a_template_reads_a_column_of_any_name(tmp_path: Path) -> None:
    record = {"Ticket No.": 7, "Why so?": "It rained."}
    wanted = [{"id": "t7", "rationale": "It rained."}]
    assert convert(tmp_path, [record], id='t{{ row["Ticket No."] }}', rationale='{{ row["Why so?"] }}') == wanted
    message = problem(tmp_path / "b", [record], id="Ticket No.", rationale="{{ why }}")
    assert 'write other names as row["NAME"]' in message
    served = {**record, "of": [{"n": 1}]}
    message = problem(tmp_path / "c", [served], id="{{ row.n }}", rationale="{{ why }}", rows="of")
    assert "row[" not in message  # it is the element there


def test_up_to_ten_records_are_named(tmp_path: Path) -> None:
    good = {"id": "a", "rationale": "So."}
    message = problem(tmp_path, [good, ["no object"], good, {"id": "b"}])
    assert [line.split(" ")[0] for line in message.replace(f"{tmp_path}/", "").splitlines()] == [
        "source.jsonl:2:",
        "source.jsonl:4:",
    ]
    assert len(problem(tmp_path, [{"id": "b"}] * 30).splitlines()) == 10


def test_rows_without_a_rationale_are_skipped_and_counted(tmp_path: Path) -> None:
    records = [{"id": "a", "rationale": "So."}, {"id": "b", "rationale": " \n"}, {"id": "c", "rationale": None}]
    source = write_jsonl(tmp_path / "s.jsonl", records)
    found = convert_rationales(source, tmp_path / "o.jsonl", shape_of("columns"))
    assert found == Converted(num_records=3, num_rationales=1, num_without=2, conflicting=[])
    assert [row["id"] for row in read_jsonl(tmp_path / "o.jsonl")] == ["a"]


def test_rows_without_a_choice_are_counted(tmp_path: Path) -> None:
    records = [{"id": "a", "all": [{"text": "So."}]}, {"id": "b", "all": []}]
    source = write_jsonl(tmp_path / "s.jsonl", records)
    found = convert_rationales(source, tmp_path / "o.jsonl", shape_of("columns", choices="all", rationale="found.text"))
    assert found.num_without == 1


def test_a_file_that_gives_nothing_is_an_error(tmp_path: Path) -> None:
    message = problem(tmp_path, [{"id": "a", "rationale": ""}] * 3)
    assert "source.jsonl: none of its 3 records has a rationale" in message


def test_ids_with_two_rationales_are_left_out(tmp_path: Path) -> None:
    texts = [("a", "One."), ("b", "Same."), ("c", "Two."), ("a", "Other."), ("b", " Same. "), ("a", "One."), ("d", "")]
    records = [{"id": row_id, "rationale": text} for row_id, text in texts]
    source = write_jsonl(tmp_path / "s.jsonl", records)
    found = convert_rationales(source, tmp_path / "o.jsonl", shape_of("columns"))
    assert found == Converted(num_records=7, num_rationales=2, num_without=1, conflicting=["a"])
    assert [row["id"] for row in read_jsonl(tmp_path / "o.jsonl")] == ["b", "c"]


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`shape` nonsense: unknown; shapes are columns, copa-sse"):
        shape_of("nonsense")
