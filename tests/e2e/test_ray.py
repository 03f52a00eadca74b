"""`predict --engine ray` on a cluster of two workers: every row once, with the labels of the plain engine."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dhrd.artifact.info import read_info, to_manifest
from dhrd.decisions.decision import Decision, LabelSets, Rule
from dhrd.decisions.target import Target
from dhrd.errors import ConfigError, DataError, DhrdError
from dhrd.run.predict.journal import LongJob
from dhrd.run.predict.predict import Predicted, predict_to
from dhrd.run.ray import predict as run
from helpers.artifacts import TASKS, save_tiny
from helpers.pages import block
from helpers.ray import cluster
from helpers.rows import write_jsonl
from helpers.runs import environment, read_jsonl, run_here

NUM_ROWS = 2400
PIECE = 100
OPTIONS: dict[str, Any] = {"device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module", autouse=True)
def two_workers() -> Iterator[None]:
    with cluster(2):
        yield


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_PIECE_ROWS", PIECE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("ray") / "model")


def some_rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "input_text": f"case {i * 7 % 50}: " + "mail " * (i % 9), "n": i} for i in range(count)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of three files."""
    folder, rows = tmp_path_factory.mktemp("rows"), some_rows(NUM_ROWS)
    for number, begin in enumerate((0, 150, 1950)):
        write_jsonl(folder / f"rows-{number}.jsonl", rows[begin : (150, 1950, NUM_ROWS)[number]])
    return folder


@pytest.fixture(scope="module")
def plain(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    output = tmp_path_factory.mktemp("plain") / "plain.parquet"
    predict_to(output, model, str(data), job=LongJob(keep=("n",)), **OPTIONS)
    return pq.read_table(output)


def table_of(output: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(output.glob("part-*.parquet")))


def check_equal(ours: pa.Table, plain: pa.Table) -> None:
    """The same rows in the same order, with the same answers."""
    assert ours.schema == plain.schema
    others = [name for name in plain.column_names if name != "probabilities"]
    assert ours.select(others).equals(plain.select(others))
    p_ours, p_plain = ([list(row.values()) for row in one["probabilities"].to_pylist()] for one in (ours, plain))
    np.testing.assert_allclose(p_ours, p_plain, atol=1e-5)


def test_several_tasks(data: Path, tmp_path: Path) -> None:
    tasks, one = save_tiny(tmp_path / "tasks", labels=TASKS), data / "rows-0.jsonl"
    predict_to(tmp_path / "plain.parquet", tasks, str(one), **OPTIONS)
    run.predict_by_ray(f"{tmp_path}/labels/", tasks, str(one), **OPTIONS)
    plain = pq.read_table(tmp_path / "plain.parquet")
    assert plain["label"][0].as_py().keys() == {"what", "tags"} and plain.num_rows == 150
    check_equal(table_of(tmp_path / "labels"), plain)


@pytest.fixture(scope="module")
def decided(model: Path, plain: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same artifact, which leaves about half of the rows to someone else."""
    directory = tmp_path_factory.mktemp("decided")
    for path in model.iterdir():
        (directory / path.name).symlink_to(path)
    surest = np.sort([max(row.values()) for row in plain["probabilities"].to_pylist()])[NUM_ROWS // 3 : -NUM_ROWS // 3]
    widest = np.diff(surest).argmax()  # in its middle no row is so near that rounding in another batch decides it
    rule = Rule(target=Target(measure="accuracy", level=0.9), threshold=float(surest[widest : widest + 2].mean()))
    decision = Decision(rules=(rule,), sets=LabelSets(coverage=0.9, threshold=0.33), num_rows=50, fingerprint="f")
    (directory / "dhrd.json").unlink()
    info = read_info(model).model_copy(update={"decision": decision})
    (directory / "dhrd.json").write_text(json.dumps(to_manifest(info)))
    return directory


def test_the_page_s_command_gives_the_rows_of_the_plain_engine(
    model: Path, data: Path, plain: pa.Table, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the place of older ones."""
    monkeypatch.chdir(tmp_path)
    Path("output").symlink_to(model)
    Path("rows").symlink_to(data)
    predict_to("labels/", model, write_jsonl(tmp_path / "old.jsonl", some_rows(1)), **OPTIONS)
    Path("labels.errors.jsonl").write_text("of an older run")
    [command] = block("On a cluster").splitlines()
    given = (*shlex.split(command)[1:], "--keep", "n", "--device", "cpu", "--dtype", "float32")
    ended = run_here(capsys, *given)
    assert (ended.code, ended.out, ended.err) == (0, f"{NUM_ROWS} rows are in labels/\n", "")
    names = [path.name for path in sorted(Path("labels").iterdir())]
    assert names[:3] == ["part-00000-00000.parquet", "part-00000-00001.parquet", "part-00001-00000.parquet"]
    assert len(names) == 2 + 18 + 5
    check_equal(table_of(Path("labels")), plain)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels", "old.jsonl", "output", "rows"]


def test_addresses_are_read_and_written(model: Path, tmp_path: Path) -> None:
    """Numbers with zeros before them stay what they are."""
    rows = [{**row, "id": f"{row['n']:05d}"} for row in some_rows(250)]
    source = tmp_path / "in.csv"
    with source.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    predict_to(tmp_path / "plain.parquet", model, str(source), **OPTIONS)
    done = run.predict_by_ray(f"file://{tmp_path}/out/", model, f"file://{source}", num_workers=1, **OPTIONS)
    assert done == Predicted(num_rows=250)
    check_equal(table_of(tmp_path / "out"), pq.read_table(tmp_path / "plain.parquet"))
    assert table_of(tmp_path / "out")["id"][7].as_py() == "00007"


class Killer(threading.Thread):
    """Kills the process that makes a part, so many times.

    Args:
        output: Of the job.
        part: Its name.
        times: How many processes die over it.
    """

    def __init__(self, output: Path, part: str, times: int = 1) -> None:
        super().__init__(daemon=True)
        self.killed: list[int] = []
        self._begun = [output / ".partial" / f"{part}.begun-{number}" for number in range(times)]
        self.start()

    def run(self) -> None:
        """Wait for each to begin."""
        for begun in self._begun:
            while not (begun.exists() and begun.read_text()):
                time.sleep(0.001)
            pid = int(begun.read_text())
            os.kill(pid, signal.SIGKILL)
            self.killed.append(pid)


def test_a_worker_that_is_killed_loses_no_row(decided: Path, data: Path, tmp_path: Path) -> None:
    """And a decision is obeyed."""
    output, job = tmp_path / "out", LongJob(keep=("n",))
    expected = predict_to(tmp_path / "plain.parquet", decided, str(data), job=job, **OPTIONS)
    assert 0 < expected.num_abstained < NUM_ROWS
    killer = Killer(output, "part-00001-00005")
    done = run.predict_by_ray(f"{output}/", decided, data, num_workers=2, job=job, **OPTIONS)
    assert len(killer.killed) == 1
    assert done == expected
    check_equal(table_of(output), pq.read_table(tmp_path / "plain.parquet"))


PROGRAM = """
import sys
from dhrd.run.ray import predict as ray
from dhrd.run.predict.journal import LongJob
ray._PIECE_ROWS = int(sys.argv[1])
ray.predict_by_ray(*sys.argv[2:5], num_workers=2, job=LongJob(keep=("n",)), device="cpu", dtype="float32")
"""


def test_a_job_that_is_killed_is_gone_on_with(model: Path, data: Path, plain: pa.Table, tmp_path: Path) -> None:
    output = tmp_path / "out"
    given = [str(PIECE), f"{output}/", str(model), str(data)]
    environ = {**environment(), "RAY_ADDRESS": "local"}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *given], env=environ, start_new_session=True)
    deadline = time.monotonic() + 200
    while len(list((output / ".partial").glob("part-*.json"))) < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not list(output.glob("part-*"))
    with pytest.raises(ConfigError, match="had another setting"):
        run.predict_by_ray(f"{output}/", model, data, job=LongJob(resume=True), **OPTIONS)
    job = LongJob(keep=("n",), resume=True)
    done = run.predict_by_ray(f"{output}/", model, data, num_workers=2, job=job, **OPTIONS)
    assert done.num_rows == NUM_ROWS
    assert 0 < done.num_resumed < NUM_ROWS
    check_equal(table_of(output), plain)
    assert [path.name for path in output.iterdir() if path.name.startswith(".")] == []


def test_bad_rows_end_it_in_one_line_or_are_left_out(model: Path, tmp_path: Path, capsys: Any) -> None:
    source, rows = tmp_path / "in.jsonl", some_rows(350)
    rows[220] = {"id": "bad", "n": 1}
    write_jsonl(source, rows)
    given = ("predict", "--model", model, "--input", source, "--output", f"{tmp_path}/out/", "--engine", "ray")
    ended = run_here(capsys, *given, "--device", "cpu", "--dtype", "float32")
    assert (ended.code, len(ended.err.splitlines())) == (2, 1), ended.err
    assert f"{source}:221: input_text" in ended.err
    assert "ray" not in ended.err.replace(str(tmp_path), "").lower()
    ended = run_here(capsys, *given, "--device", "cpu", "--dtype", "float32", "--on-error", "skip")
    assert (
        ended.out
        == f"349 rows are in {tmp_path}/out/; 1 bad rows were skipped and are listed in {tmp_path}/out.errors.jsonl\n"
    )
    [error] = read_jsonl(tmp_path / "out.errors.jsonl")
    assert (error["where"], error["line"]) == (f"{source}:221", 221)
    assert table_of(tmp_path / "out")["id"].to_pylist() == [row["id"] for row in rows if row["id"] != "bad"]


def test_rows_over_which_workers_die_are_named(model: Path, tmp_path: Path) -> None:
    """Not for ever, and what is whole is kept."""
    source, output = write_jsonl(tmp_path / "in.jsonl", some_rows(150)), tmp_path / "out"
    killer = Killer(output, "part-00000-00001", times=3)
    with pytest.raises(DhrdError, match=r"in\.jsonl:101: 3 workers died on these 50 rows") as failure:
        run.predict_by_ray(f"{output}/", model, source, num_workers=1, **OPTIONS)
    assert len(set(killer.killed)) == 3
    assert "100 rows are kept in it; continue with `resume`" in failure.value.__notes__


def test_the_cluster_s_limits_are_told(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"`num_workers=3`: .* has 2 cores and 0 GPUs"):
        run.predict_by_ray(f"{tmp_path}/out/", model, data, num_workers=3)
    with pytest.raises(ConfigError, match="no machine of the cluster has a GPU"):
        run.predict_by_ray(f"{tmp_path}/out/", model, data, device="cuda")


def test_no_rows_are_an_empty_part(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("")
    assert run.predict_by_ray(f"{tmp_path}/out/", model, tmp_path / "in.jsonl") == Predicted(num_rows=0)
    assert table_of(tmp_path / "out").num_rows == 0
    with pytest.raises(DataError, match="no such file"):
        run.predict_by_ray(f"{tmp_path}/out/", model, tmp_path / "not.jsonl")
