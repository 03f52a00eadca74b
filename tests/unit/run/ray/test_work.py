"""What the workers do, in this process: pieces are the same whenever a file is read, and become parts."""

from __future__ import annotations

import gzip
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dhrd.artifact.info import read_info
from dhrd.config import RunConfig
from dhrd.data.row import Row
from dhrd.errors import DataError, DhrdError
from dhrd.run.predict.predict import columns_of_output
from dhrd.run.predict.tables import Parquet
from dhrd.run.ray import work as ray_work
from dhrd.run.ray.parts import PartDone, PartsOutput
from dhrd.run.ray.work import ClusterJob, Labeller, Piece, pieces_of, read_pieces
from helpers.jobs import use
from helpers.rows import write_jsonl


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ClusterJob:
    model = use(monkeypatch, tmp_path / "model")
    columns, output = columns_of_output(read_info(model), ()), PartsOutput(f"{tmp_path}/out")
    output.begin({}, resume=False)
    return ClusterJob(
        model_dir=str(model), options={}, config=RunConfig(), columns=columns, head=Parquet(columns).head([]),
        skip=False, output=output, piece_rows=10,
    )  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> str:
    rows: list[dict[str, Any]] = [{"id": f"r{i}", "input_text": f"row {i}"} for i in range(25)]
    return str(write_jsonl(tmp_path / "in.jsonl", rows))


def test_a_file_is_cut_into_pieces(work: ClusterJob, data: str) -> None:
    pieces = list(pieces_of(data, 7, work))
    assert [(piece.name, len(piece.rows)) for piece in pieces] == [
        ("part-00007-00000", 10), ("part-00007-00001", 10), ("part-00007-00002", 5)
    ]  # fmt: skip
    assert [row.where for piece in pieces for row in piece.rows] == [f"{data}:{line}" for line in range(1, 26)]
    again = [
        pickle.loads(row["piece"]) for row in read_pieces({"number": 7, "file": data}, work=work, done=frozenset())
    ]
    assert again == pieces
    done = frozenset({"part-00007-00001"})
    left = [pickle.loads(row["piece"]) for row in read_pieces({"number": 7, "file": data}, work=work, done=done)]
    assert left == [pieces[0], pieces[2]]


def test_large_rows_make_small_pieces(work: ClusterJob, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_work, "_PIECE_CHARACTERS", 25)
    assert [len(piece.rows) for piece in pieces_of(data, 0, work)] == [4, 4, 4, 3, 3, 3, 3, 1]  # 7 characters, then 9


def test_what_ends_a_file_comes_after_its_rows(work: ClusterJob, data: str) -> None:
    Path(data).write_bytes(Path(data).read_bytes() + b'{"id": "bad", "input_text": ""}\n')
    truncated = f"{data}.gz"
    Path(truncated).write_bytes(gzip.compress(Path(data).read_bytes())[:-20])
    *_, last = pieces_of(truncated, 0, work)
    assert isinstance(last.failure, DataError) and "cannot be read" in str(last.failure)
    with pytest.raises(DataError, match="cannot be read"):
        list(last.read())


def test_a_piece_becomes_a_part(work: ClusterJob, data: str) -> None:
    labeller = Labeller(work)
    contents = [row["piece"] for row in read_pieces({"number": 0, "file": data}, work=work, done=frozenset())]
    outcomes = [pickle.loads(content) for content in labeller({"piece": contents})["outcome"]]
    assert [outcome.done.mark.num_written for outcome in outcomes] == [10, 10, 5]
    assert labeller.classifier is labeller.classifier
    assert work.output.begin({}, resume=True) == {outcome.name: outcome.done for outcome in outcomes}
    table = pq.read_table(f"{work.output.directory}/.partial/part-00000-00001.parquet")
    assert table["id"].to_pylist() == [f"r{i}" for i in range(10, 20)]


def test_bad_rows_are_an_outcome_or_left_out(work: ClusterJob) -> None:
    rows = [Row("f:1", {"id": "a", "input_text": "good"}), Row("f:2", {"id": "b", "input_text": "unusable"})]
    piece = Piece("part-00000-00000", "f.jsonl", rows, warnings=("look",))
    stopped = Labeller(work).label(piece)
    assert isinstance(stopped.done, DataError) and str(stopped.done) == "f:2: too long for the model"
    assert stopped.warnings == ("look",)
    assert work.output.begin({}, resume=True) == {}
    skipped = Labeller(replace(work, skip=True)).label(piece)
    assert isinstance(skipped.done, PartDone)
    assert [(row.where, row.reason) for row in skipped.done.refused] == [("f:2", "too long for the model")]
    assert skipped.done.mark.num_written == 1


def test_a_column_may_be_missing_from_a_pieces_rows(work: ClusterJob) -> None:
    """As from later rows of one reading: the input's first rows were checked for it."""
    columns = replace(work.columns, keep=("n",))
    keeping = replace(work, columns=columns, head=Parquet(columns).head([{"n": 1}]))
    rows = [Row(f"f:{i}", {"id": f"r{i}", "input_text": "good", **({"n": i} if i > 7 else {})}) for i in range(6, 10)]
    outcome = Labeller(keeping).label(Piece("part-00000-00001", "f.jsonl", rows))
    assert isinstance(outcome.done, PartDone)
    written = pq.read_table(f"{work.output.directory}/.partial/part-00000-00001.parquet")
    assert written["n"].to_pylist() == [None, None, 8, 9]


def test_what_is_said_in_a_worker_is_carried(work: ClusterJob) -> None:
    rows = [Row("f:1", {"id": "a", "input_text": "nan"})]
    outcome = Labeller(work).label(Piece("part-00000-00000", "f.jsonl", rows))
    assert len(outcome.warnings) == 1 and "words for missing values are kept" in outcome.warnings[0]


def test_rows_over_which_workers_die_are_named(work: ClusterJob) -> None:
    piece = Piece("part-00000-00000", "f.jsonl", [Row("f.jsonl:1", {"id": "a", "input_text": "good"})])
    for number in range(3):
        Path(f"{work.output.directory}/.partial/{piece.name}.begun-{number}").touch()
    outcome = Labeller(work).label(piece)
    assert type(outcome.done) is DhrdError
    assert str(outcome.done).startswith("f.jsonl:1: 3 workers died on these 1 rows")
