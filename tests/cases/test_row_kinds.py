"""Further members of the kinds of rows, tables, values and templates that were read as something else."""

from __future__ import annotations

import enum
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from dhrd.artifact.info import read_info
from dhrd.config import load_config
from dhrd.data.objects import as_rows
from dhrd.data.records import Example
from dhrd.data.rows import load_rows
from dhrd.data.sources import open_source
from dhrd.data.templates import InputTemplate
from dhrd.errors import ConfigError, DataError
from dhrd.run.rows import open_rows
from helpers.artifacts import save_tiny
from helpers.rows import write_jsonl


def read(spec: Any, *, labels_required: bool = True, **settings: Any) -> list[Example]:
    return open_source(spec, load_config(**settings).data).load(labels_required=labels_required)


def refused(spec: Any, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(spec, **settings)
    return str(caught.value)


NULL = [
    "{{ n ~ ' EUR' }}",
    "{{ n | string }}",
    "{{ n | upper }}",
    "{{ n | int }}",
    "{{ n | float }}",
    "{{ n | urlencode }}",
    "{{ '%s EUR' | format(n) }}",
    "{{ '%s EUR' % n }}",
    "{{ '%s %s' % (n, 1) }}",
    "{{ '{} EUR'.format(n) }}",
    "{{ tags | join(', ') }}",
    "{{ tags | map('upper') | join }}",
    "{% for tag in tags %}{{ tag ~ ',' }}{% endfor %}",
    "{% set m = n %}{{ m ~ '' }}",
]


@pytest.mark.parametrize("source", NULL)
def test_s6_null_is_written_by_no_operator_filter_or_method(source: str) -> None:
    """S6: the word None is never made of a missing value, in whatever way a template writes it."""
    with pytest.raises(DataError, match="null"):
        InputTemplate(source).render({"n": None, "tags": ["a", None]})
    assert InputTemplate(source).render({"n": "5", "tags": ["a", "b"]})


def test_s6_what_allows_null_still_does() -> None:
    columns = {"n": None, "tags": [1.0, None]}
    assert InputTemplate("{{ n or '-' }}{{ n | default('x', true) }}{{ n | tojson }}").render(columns) == "-xnull"
    assert InputTemplate("{{ tags | select | join }}{% if n is none %}!{% endif %}").render(columns) == "1.0!"


class _Thing:
    pass


@pytest.mark.parametrize(
    "source",
    [
        "{{ thing }}",
        "{{ [thing] }}",
        "{{ thing ~ '' }}",
        "{{ thing | string }}",
        "{{ row }}",
        "{{ row.items() }}",
        "{{ tags | map('upper') ~ '' }}",
        "{% macro m() %}a{% endmacro %}{{ m ~ '' }}",
        "{% macro m() %}a{% endmacro %}{{ [m] | join }}",
        "{{ [[row.no]] }}",
        "{{ {'a': [row.no]} }}",
    ],
)
def test_l10_what_is_no_data_is_written_in_no_way(source: str) -> None:
    """L10: nothing that Python names by its address, and no code, however it is dressed."""
    with pytest.raises(DataError):
        InputTemplate(source).render({"thing": _Thing(), "tags": ["a"]})


def test_s7_half_an_emoji_of_the_template_itself() -> None:
    with pytest.raises(DataError, match="surrogates not allowed"):
        InputTemplate("{{ a }} {{ '\\ud83d' }}").render({"a": "b"})


def test_s7_an_id_is_checked_where_rows_are_predicted(tmp_path: Path) -> None:
    path = tmp_path / "half.jsonl"
    path.write_text('{"input_text": "a", "id": "x\\ud83d", "other": "\\ud83d"}\n')
    assert "id: '\\ud83d' at character 1 is half" in refused(path, labels_required=False)
    path.write_text('{"input_text": "a", "y": "\\ud83d"}\n')
    assert read(path, labels_required=False, data__columns={"label": "y"})[0].input_text == "a"


class _Word(str, enum.Enum):  # noqa: UP042  # its str() is its name, unlike StrEnum's
    GOOD = "good"
    BAD = "bad"


class _Number(int, enum.Enum):
    ONE = 1
    TWO = 2


def test_l15_members_of_an_enumeration_are_their_values() -> None:
    found = read([{"input_text": _Word.GOOD, "label": _Word.BAD, "id": _Number.ONE}])[0]
    assert (found.input_text, found.label, found.id) == ("good", "bad", "1")
    assert InputTemplate("{{ n }}").render(read([{"input_text": "a", "label": 1, "n": _Number.TWO}])[0].fields) == "2"


def test_l17_whole_numbers_of_any_type_are_ids() -> None:
    ids = [7, 7.0, Decimal("7.00"), np.float32(7), np.int8(7)]
    assert {read([{"input_text": "a", "label": "x", "id": one}])[0].id for one in ids} == {"7"}
    assert "neither text nor an integer" in refused([{"input_text": "a", "label": "x", "id": Decimal("7.5")}])
    assert "neither text nor an integer" in refused([{"input_text": "a", "label": "x", "id": Decimal("Infinity")}])
    for huge in ("1e999999999", "-1e999999999"):
        assert "label: Decimal" in refused([{"input_text": "a", "label": Decimal(huge)}])


class _Frame(pandas.DataFrame):
    pass


class _Table:
    """A table of a library that nobody here has heard of."""

    columns = ("input_text", "n")

    def __iter__(self) -> Any:
        return iter(self.columns)


def test_s3_a_table_of_a_type_of_its_own_is_taken_row_by_row() -> None:
    found = read(_Frame({"input_text": ["a", "b"], "label": ["x", "y"]}))
    assert [(one.input_text, one.label) for one in found] == [("a", "x"), ("b", "y")]


def test_s3_a_table_of_an_unknown_library_is_refused() -> None:
    with pytest.raises(DataError, match="got a _Table, a table of a kind that is not known; give its rows as dicts"):
        as_rows(_Table())


def test_s3_one_row_of_a_frame_is_no_sequence_of_texts() -> None:
    frame = pandas.DataFrame({"input_text": ["a"], "label": ["x"]})
    assert "one row of a table; give row.to_dict()" in refused(frame.iloc[0], labels_required=False)
    assert [one.input_text for one in read(frame["input_text"], labels_required=False)] == ["a"]


def test_s3_a_reader_of_record_batches_is_read_once() -> None:
    table = pyarrow.table({"input_text": ["a", "b"], "label": ["x", "y"]})
    assert [one.input_text for one in read(table.to_reader())] == ["a", "b"]
    assert [one.input_text for one in read(table.to_batches()[0])] == ["a", "b"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=repr)
def test_l6_swallowed_rows_are_told_whatever_ends_a_line(
    end: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["input_text,label", '"Great stay,pos', 'the tub is 5",neg', "ok,pos", ""]
    (tmp_path / "rows.csv").write_text(end.join(lines), newline="")
    read(tmp_path / "rows.csv")
    assert "in 1 rows a quoted text holds lines that would each be a row" in caplog.text


def test_l12_the_header_of_one_mapped_column_again(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text\nok\ntext\n")
    message = refused(tmp_path / "rows.csv", labels_required=False, data__columns={"input_text": "text"})
    assert "rows.csv:3: the names of the columns again" in message


def test_l11_words_of_missing_data_in_ids_groups_and_files_of_rationales(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"input_text": f"t {n}", "label": "ab"[n % 2], "id": str(n), "group": "nan"} for n in range(4)]
    words = [{"id": str(n), "rationale": "None" if n else "because"} for n in range(4)]
    path = write_jsonl(tmp_path / "why.jsonl", words)
    load_rows(load_config(data__rationales=str(path)), rows)
    assert "group 'nan' in 4 rows" in caplog.text
    assert "words of missing data are kept as rationales ('None' in 3 rows)" in caplog.text


CLASSES = datasets.Features(
    {"input_text": datasets.Value("string"), "label": datasets.ClassLabel(names=["sun", "rain"])}
)


def weather(*, features: datasets.Features = CLASSES) -> datasets.Dataset:
    return datasets.Dataset.from_list([{"input_text": str(n), "label": n % 2} for n in range(4)], features=features)


def test_l2_a_gzipped_parquet_file_and_a_directory_have_names_too(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    weather().to_parquet(tmp_path / "all" / "B.PARQUET")
    (tmp_path / "rows.parquet.gz").write_bytes(gzip.compress((tmp_path / "all" / "B.PARQUET").read_bytes()))
    for path in (tmp_path / "rows.parquet.gz", tmp_path / "all"):
        assert load_rows(load_config(loss__reasoning_weight=0), path).labels.names == ("sun", "rain")


def test_l2_files_of_a_directory_that_name_classes_differently_are_refused(tmp_path: Path) -> None:
    weather().to_parquet(tmp_path / "a.parquet")
    other = datasets.Features({**CLASSES, "label": datasets.ClassLabel(names=["rain", "sun"])})
    weather(features=other).to_parquet(tmp_path / "b.parquet")
    assert "b.parquet: its schema names the classes differently than that of a.parquet" in refused(tmp_path)


@pytest.mark.parametrize(
    "metadata",
    [
        b"{not json",
        b"\xff",
        b"[]",
        b'{"info": {"features": [1]}}',
        b'{"info": {"features": {"label": {"names": "ab", "_type": "ClassLabel"}}}}',
        b'{"info": {"features": {"label": {"names": ["a", 1], "_type": "ClassLabel"}}}}',
    ],
)
def test_a15_a_schemas_metadata_that_is_none_is_one_line(metadata: bytes, tmp_path: Path) -> None:
    table = pyarrow.table({"input_text": ["a", "b"], "label": [0, 1]})
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": metadata}), tmp_path / "a.parquet")
    message = refused(tmp_path / "a.parquet")
    assert "write the file again" in message
    assert len(message.splitlines()) == 1


def test_a15_a_kind_of_column_that_is_not_known_yet_does_not_matter(tmp_path: Path) -> None:
    kinds = {"other": {"_type": "Hologram"}, "label": {"names": ["b", "a"], "_type": "ClassLabel"}}
    table = pyarrow.table({"input_text": ["a", "b"], "label": [0, 1]})
    metadata = {"huggingface": json.dumps({"info": {"features": kinds}})}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), tmp_path / "a.parquet")
    assert [one.label for one in read(tmp_path / "a.parquet")] == ["b", "a"]


def test_a15_a_damaged_page_is_one_line(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"input_text": ["a"], "label": ["x"]}), tmp_path / "a.parquet")
    raw = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(raw[:10] + b"\xff" * 30 + raw[40:])
    assert len(refused(tmp_path / "a.parquet").splitlines()) == 1


def test_l14_evaluation_does_not_look_at_rationales(tmp_path: Path) -> None:
    info = read_info(save_tiny(tmp_path / "model"))
    rows = [{"input_text": "a", "label": "bill", "rationale": 5}, {"input_text": "b", "label": "mail", "rationale": []}]
    assert [one.label for one in open_rows(rows, "validation", load_config(), info).load()] == ["bill", "mail"]
    assert "rationale: 5 is not text" in refused(rows)


def test_l18_a_set_has_no_order(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("data:\n  labels: !!set {a, b}\n")
    with pytest.raises(ConfigError, match="a !!set has no order"):
        load_config(tmp_path / "run.yaml")
