"""Types of columns, as the input's Parquet files say them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dhrd.errors import DataError
from dhrd.run.predict.input_types import column_types, files_of_input


def save(path: Path, schema: pa.Schema) -> str:
    pq.write_table(schema.empty_table(), path)
    return str(path)


def test_files_have_names_that_every_process_can_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [save(tmp_path / name, pa.schema([("n", pa.int32())])) for name in ("a.parquet", "b.parquet")]
    monkeypatch.chdir(tmp_path)
    assert files_of_input(".") == files_of_input(Path("?.parquet")) == both
    assert [url.removeprefix("file://") for url in files_of_input(f"file://{tmp_path}")] == both
    with pytest.raises(DataError, match="no such file"):
        files_of_input("none.parquet")


@pytest.mark.parametrize("data", ["-", "superglue:cb", "hub:org/name", "policy_desk:rows=3", [{"input_text": "one"}]])
def test_what_is_no_file(data: Any) -> None:
    assert files_of_input(data) == []


def test_types_are_those_of_the_files(tmp_path: Path) -> None:
    given = {
        "decimal": (pa.decimal128(10, 2), pa.decimal128(10, 2)),
        "time": (pa.timestamp("ns", "UTC"), pa.timestamp("ns", "UTC")),
        "span": (pa.duration("ns"), pa.duration("ns")),
        "bytes": (pa.binary(), pa.binary()),
        "kind": (pa.dictionary(pa.int32(), pa.large_string()), pa.string()),
        "items": (pa.large_list(pa.int8()), pa.list_(pa.int8())),
        "object": (pa.struct([("a", pa.int8())]), None),
        "objects": (pa.list_(pa.struct([("a", pa.int8())])), None),
        "nothing": (pa.null(), None),
        "differs": (pa.int32(), None),
        "named": (pa.int64(), None),
    }
    features = {"named": {"names": ["x", "y"], "_type": "ClassLabel"}}
    schema = pa.schema([(name, kind) for name, (kind, _) in given.items()], {
        "huggingface": json.dumps({"info": {"features": features}})
    })  # fmt: skip
    other = schema.remove_metadata().set(9, pa.field("differs", pa.int64()))
    names = [*given, "absent"]
    files = [save(tmp_path / "a.parquet", schema), f"file://{save(tmp_path / 'b.parquet', other)}"]
    expected = {name: kind for name, (_, kind) in given.items() if kind is not None}
    assert column_types(files, names) == expected
    assert column_types(files, ["time", "object"]) == {"time": expected["time"]}
    (tmp_path / "broken.parquet").write_bytes(b"none")
    for more in ("rows.jsonl", str(tmp_path / "broken.parquet"), str(tmp_path / "gone.parquet")):
        assert column_types([*files, more], names) == {}
