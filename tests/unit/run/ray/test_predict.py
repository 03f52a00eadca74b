"""What a job on a cluster does before and after the cluster; the cluster itself is run in tests/e2e/test_ray.py."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dhrd.config import RunConfig, load_config
from dhrd.errors import ConfigError, DataError
from dhrd.run.predict.journal import LongJob, Mark
from dhrd.run.predict.tables import Columns
from dhrd.run.ray import predict as ray
from dhrd.run.ray.parts import PartDone, PartsOutput
from dhrd.run.ray.work import ClusterJob, PieceOutcome
from helpers.jobs import LABELS, use
from helpers.rows import write_jsonl


def test_files_have_names_that_every_process_can_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.csv", "a.csv"):
        (tmp_path / name).write_text("input_text\none\n")
    monkeypatch.chdir(tmp_path)
    both = [f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"]
    assert ray.input_files(".") == ray.input_files("?.csv") == both
    assert [url.removeprefix("file://") for url in ray.input_files(f"file://{tmp_path}")] == both


@pytest.mark.parametrize("data", ["-", "superglue:cb", "hub:org/name", "policy_desk:rows=3"])
def test_what_is_no_file_is_refused(data: str) -> None:
    with pytest.raises(ConfigError, match="several workers read files"):
        ray.input_files(data)


def test_outcomes_are_taken_until_one_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    done: dict[str, PartDone] = {}
    good = PartDone(Mark(num_written=5))
    outcomes = [PieceOutcome(f"part-{i}", good, (f"warning {i // 2}", "again")) for i in range(20)]
    with caplog.at_level(logging.WARNING, "dhrd"), pytest.raises(DataError, match=r"^f:1: empty$"):
        ray._gather([*outcomes, PieceOutcome("part-20", DataError("f:1: empty")), PieceOutcome("never", good)], done)
    assert sorted(done) == sorted(f"part-{i}" for i in range(20))
    assert caplog.messages == ["warning 0", "again", "warning 1", "warning 2"]  # of the first ten


def test_settings_are_checked_before_a_cluster_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> None:
        raise AssertionError("a cluster was started")

    monkeypatch.setattr(ray, "connected", never)
    model, data = use(monkeypatch, tmp_path / "model"), write_jsonl(tmp_path / "in.jsonl", [{"input_text": "one"}])
    for given, message in (
        ({"num_workers": 0}, "num_workers"),
        ({"job": LongJob(keep=("label",))}, "`keep=label`"),
    ):
        with pytest.raises(ConfigError, match=message):
            ray.predict_by_ray(f"{tmp_path}/out/", model, data, **given)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="there is no column 'n' to keep"):
        ray.predict_by_ray(f"{tmp_path}/out/", model, data, job=LongJob(keep=("n",)))
    with pytest.raises(ConfigError, match="ends in a slash"):
        ray.predict_by_ray(tmp_path / "o.parquet", model, data)
    assert not (tmp_path / "out").exists()


def test_parts_of_rows_that_were_read_otherwise_are_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the labels would be of one column and half of another."""
    rows = [{"input_text": "one", "other": "two", "label": "a"}]
    model, data = use(monkeypatch, tmp_path / "model"), write_jsonl(tmp_path / "in.jsonl", rows)

    def stopped() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ray, "connected", stopped)
    for resume in (False, True):  # the second is the same job
        with pytest.raises(KeyboardInterrupt):
            ray.predict_by_ray(f"{tmp_path}/out/", model, data, job=LongJob(resume=resume))
    for setting in ({"data__columns": {"input_text": "other"}}, {"data__input_template": "{{ other }}"}):
        with pytest.raises(ConfigError, match="had another reading of rows"):
            ray.predict_by_ray(f"{tmp_path}/out/", model, data, job=LongJob(resume=True), config=load_config(**setting))


def test_columns_to_keep_are_those_of_the_first_good_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever file it is; later rows may lack them, as with the plain engine."""
    model = use(monkeypatch, tmp_path / "model")
    bad, good = {"input_text": ""}, {"input_text": "one"}
    lines = [[bad, {**bad, "n": 1}], [bad, {**good, "n": 1}, good], [good, {**good, "n": 2, "late": 3}]]
    files = [str(write_jsonl(tmp_path / f"{number}.jsonl", part)) for number, part in enumerate(lines)]

    def head(*keep: str, files: list[str] = files) -> pa.Schema:
        columns = Columns(labels=LABELS, keep=keep)
        work = ClusterJob(
            model_dir=str(model), options={}, config=RunConfig(), columns=columns, head=b"", skip=True,
            output=PartsOutput(f"{tmp_path}/out"), piece_rows=10,
        )  # fmt: skip
        return pa.ipc.read_schema(pa.py_buffer(ray._head(work, files)))

    assert head("n").field("n").type == pa.int64()
    for number in range(2):
        table = pa.table({"input_text": ["one"], "n": pa.array([None], pa.decimal128(10, 2))})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    assert head("n", files=[f"{tmp_path}/{number}.parquet" for number in range(2)]).field("n").type == table["n"].type
    with pytest.raises(DataError, match=r"1\.jsonl:2: there is no column 'late' to keep"):
        head("n", "late")
