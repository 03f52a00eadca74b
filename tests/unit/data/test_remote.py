"""Rows at an address of fsspec's, here in memory: the same as in a file."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dhrd.config import DataSettings
from dhrd.data.readers import read_file
from dhrd.data.remote import is_url, read_url, urls_of
from dhrd.data.row import BadRow, Row
from dhrd.data.sources import open_source
from dhrd.errors import DataError

ROWS = [{"id": "007", "input_text": "one"}, {"id": "008", "input_text": "zwei, é"}]
JSONL = b'{"id": "007", "input_text": "one"}\n{"id": "008", "input_text": "zwei, \xc3\xa9"}\n'
CSV = 'id,input_text\n007,one\n008,"zwei, é"\n'.encode()


@pytest.fixture
def place() -> Iterator[str]:
    system = fsspec.filesystem("memory")
    yield "memory://rows"
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def put(url: str, content: bytes) -> str:
    with fsspec.open(url, "wb") as file:
        file.write(content)
    return url


def parquet(metadata: dict[bytes, bytes] | None = None) -> bytes:
    table, content = pa.Table.from_pylist([{**row, "kind": 1} for row in ROWS]), io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), content)
    return content.getvalue()


CONTENTS = {
    "a.jsonl": JSONL,
    "a.jsonl.gz": gzip.compress(JSONL),
    "a.csv": CSV,
    "a.tsv": CSV.replace(b",", b"\t").replace(b'"zwei\t', b'"zwei,'),
    "a.parquet": parquet(),
    "a.parquet.gz": gzip.compress(parquet()),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_rows_are_those_of_a_file(place: str, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CONTENTS[name])
    url = put(f"{place}/{name}", CONTENTS[name])
    here, there = list(read_file(tmp_path / name)), list(read_url(url))
    assert [
        (row.where.replace(str(tmp_path), "memory://rows"), row.columns) for row in here if isinstance(row, Row)
    ] == [(row.where.replace("memory:///", "memory://"), row.columns) for row in there if isinstance(row, Row)]
    assert len(there) == 2


def test_no_password_is_in_what_is_told_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names go into manifests, tables of errors and reports, which are shared."""
    content = JSONL + b'{"id": "009", "input_text": ""}\n'
    url = "https://ann:hush@host/rows.jsonl"
    monkeypatch.setattr("dhrd.data.remote.urls_of", lambda url: [url])
    monkeypatch.setattr("dhrd.data.remote._opened", lambda url: io.BytesIO(content))
    source = open_source(url, DataSettings())
    first, *_ = source.read()
    assert (source.name, first.where) == ("https://***@host/rows.jsonl", "https://***@host/rows.jsonl:1")
    with pytest.raises(DataError, match=r"https://\*\*\*@host/rows\.jsonl:3: input_text: empty"):
        source.load(labels_required=False)

    def fails(url: str) -> io.BytesIO:
        raise OSError(f"cannot reach {url}")

    monkeypatch.setattr("dhrd.data.remote._opened", fails)
    with pytest.raises(DataError, match="cannot be read") as caught:
        source.load()
    assert "hush" not in str(caught.value)


def test_classes_have_their_names(place: str) -> None:
    features = b'{"info": {"features": {"kind": {"names": ["bill", "mail"], "_type": "ClassLabel"}}}}'
    url = put(f"{place}/a.parquet", parquet({b"huggingface": features}))
    assert [row.columns["kind"] for row in read_url(url) if isinstance(row, Row)] == ["mail", "mail"]


def test_a_directory_and_a_pattern_are_read_in_the_order_of_their_names(place: str) -> None:
    for name in ("b.jsonl", "a.jsonl", "_hidden.jsonl", "notes.txt"):
        put(f"{place}/{name}", JSONL)
    assert [url.rpartition("/")[2] for url in urls_of(place)] == ["a.jsonl", "b.jsonl"]
    assert [url.rpartition("/")[2] for url in urls_of(f"{place}/?.jsonl")] == ["a.jsonl", "b.jsonl"]
    examples = list(open_source(place, DataSettings()).examples(labels_required=False))
    assert [example.id for example in examples] == ["007", "008"] * 2


def test_what_cannot_be_read_is_told_in_one_line(place: str) -> None:
    with pytest.raises(DataError, match="no such file"):
        urls_of(f"{place}/a.jsonl")
    with pytest.raises(DataError, match="unknown file type"):
        urls_of(put(f"{place}/a.txt", b""))
    with pytest.raises(DataError, match=r"nowhere://x/a\.csv: cannot be read: .*nowhere"):
        urls_of("nowhere://x/a.csv")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        list(read_url(put(f"{place}/b.parquet", b"no")))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_url(put(f"{place}/b.jsonl.gz", b"no")))
    [bad] = read_url(put(f"{place}/b.jsonl", b"{no\n"))
    assert isinstance(bad, BadRow)


@pytest.mark.parametrize(
    ("spec", "is_one"), [("s3://b/a.csv", True), ("a.csv", False), (Path("a"), False), ([], False)]
)
def test_addresses_are_known(spec: object, is_one: bool) -> None:
    assert is_url(spec) is is_one
