"""Long jobs: what is written, what a kill leaves, and what goes on from there."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import os
import random
import shutil
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dhrd.run.predict.sinks
from dhrd.decisions.decision import Decision, LabelSets, Rule
from dhrd.decisions.target import Target
from dhrd.errors import ConfigError, DataError
from dhrd.run.predict.journal import LongJob
from dhrd.run.predict.predict import Predicted, predict, predict_to
from helpers.jobs import LABELS, WINDOW, killed_at, use
from helpers.jobs import killed as run_and_kill
from helpers.rows import write_jsonl
from helpers.runs import read_jsonl

OUTPUTS = ["o.jsonl", "o.jsonl.gz", "o.csv", "o.parquet", "parts/"]
NUM_KILLS = 30
NUM_ROWS = 15 * WINDOW + 3
DECISION = Decision(
    rules=(Rule(target=Target(measure="accuracy", level=0.9), threshold=0.6),),
    sets=LabelSets(coverage=0.9, threshold=0.2),
    num_rows=50,
    fingerprint="f",
)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(dhrd.run.predict.sinks, "_PART_WINDOWS", 4)
    return use(monkeypatch, tmp_path / "model")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw = random.Random(1)
    texts = ["a row, " * draw.randint(1, 5) for _ in range(NUM_ROWS)]
    return write_jsonl(
        tmp_path / "in.jsonl",
        [{"input_text": text, "n": index, "tag": None if index % 2 else "é"} for index, text in enumerate(texts)],
    )


def files(output: Path) -> dict[str, bytes]:
    """All that is there under an output's name."""
    if output.is_dir():
        return {path.name: path.read_bytes() for path in output.iterdir()}
    return {output.name: output.read_bytes()}


def rows_of(output: Path) -> list[dict[str, Any]]:
    """Of any form; of CSV as text."""
    if output.is_dir() or output.suffix == ".parquet":
        return pq.read_table(output).to_pylist()
    if output.suffix == ".csv":
        return list(csv.DictReader(output.open()))
    text = gzip.decompress(output.read_bytes()).decode() if output.suffix == ".gz" else output.read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", OUTPUTS)
def test_forms_hold_the_same_rows(model: Path, data: Path, tmp_path: Path, name: str) -> None:
    expected = list(predict(model, data))
    done = predict_to(f"{tmp_path}/{name}", model, data, job=LongJob(keep=("n", "tag")))
    assert done == Predicted(num_rows=NUM_ROWS)
    found = rows_of(tmp_path / name)
    assert len(found) == NUM_ROWS
    for index, (row, want) in enumerate(zip(found, expected, strict=True)):
        if name == "o.csv":
            assert [float(row[f"p_{label}"]) for label in LABELS.names] == list(want["probabilities"].values())
        else:
            assert row["probabilities"] == want["probabilities"]
        assert (row["id"], row["label"]) == (want["id"], want["label"])
        assert str(row["n"]) == str(index)
        assert row["tag"] == ((None, "")[name == "o.csv"] if index % 2 else "é")
    assert not list(tmp_path.glob(".*"))


def test_parts_have_so_many_windows_and_replace_older_ones(model: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "parts"
    for _ in range(2):
        predict_to(f"{output}/", model, data)
        assert [pq.read_metadata(path).num_rows for path in sorted(output.iterdir())] == [4 * WINDOW] * 3 + [27]
    write_jsonl(data, [{"input_text": "one"}])
    predict_to(str(output), model, data)
    assert [path.name for path in output.iterdir()] == ["part-00000.parquet"]


@pytest.mark.parametrize("name", ["o.parquet", "parts/"])
def test_kept_columns_of_parquet_keep_their_types(model: Path, tmp_path: Path, name: str) -> None:
    """Whatever the first window holds: less digits than later ones, or nothing."""
    fine = [pd.Timestamp("2025-11-02 08:30:00.000000001")]
    columns = {
        "price": pa.array([Decimal("9.99")] * WINDOW + [Decimal("100.00")], pa.decimal128(10, 2)),
        "at": pa.array(fine * (WINDOW + 1), pa.timestamp("ns")),
        "span": pa.array([pd.Timedelta(1, "ns")] * (WINDOW + 1), pa.duration("ns")),
        "late": pa.array([None] * WINDOW + fine, pa.timestamp("ns")),
        "score": pa.array([None] * WINDOW + [1.5], pa.float32()),
    }
    table = pa.table({"input_text": [f"row {number}" for number in range(WINDOW + 1)], **columns})
    pq.write_table(table, tmp_path / "in.parquet")
    predict_to(f"{tmp_path}/{name}", model, str(tmp_path / "in.parquet"), job=LongJob(keep=tuple(columns)))
    assert pq.read_table(tmp_path / name, columns=list(columns)).equals(table.select(list(columns)))


def test_parquet_is_typed(model: Path, data: Path, tmp_path: Path) -> None:
    predict_to(tmp_path / "o.parquet", model, data, job=LongJob(keep=("n", "tag")))
    types = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "o.parquet")}
    doubles = ", ".join(f"{name}: double" for name in LABELS.names)
    assert types == {
        "id": "string", "label": "string", "probabilities": f"struct<{doubles}>", "n": "int64", "tag": "string"
    }  # fmt: skip


@pytest.mark.parametrize("name", OUTPUTS)
def test_thirty_kills(model: Path, data: Path, tmp_path: Path, name: str) -> None:
    """At any byte; the file is then that of a run that nothing stopped, with the rows that were left out."""
    bad = [{"input_text": "unusable"}, {"input_text": ""}, {"other": 1}, "no row"]
    draw, rows = random.Random(name), [dict(row) for row in read_jsonl(data)]
    mixed: list[Any] = list(rows)
    for row in bad * 3:
        mixed.insert(draw.randrange(len(mixed)), row)
    data.write_text("".join(json.dumps(row) + "\n" for row in [*mixed, *bad]))
    whole, output = f"{tmp_path}/whole-{name}", f"{tmp_path}/{name}"
    job = LongJob(keep=("n",), on_error="skip")
    expected = predict_to(whole, model, data, job=job)
    assert (expected.num_rows, expected.num_refused) == (NUM_ROWS, 16)
    resumed = LongJob(keep=("n",), on_error="skip", resume=True)
    num_kills = 0
    while num_kills < NUM_KILLS:
        if run_and_kill(lambda: predict_to(output, model, data, job=resumed), draw.randint(50, 2500)):
            num_kills += 1
        else:  # it came to its end
            assert list(files(Path(output)).values()) == list(files(Path(whole)).values())
    ended = predict_to(output, model, data, job=resumed)
    assert (ended.num_rows, ended.num_refused) == (expected.num_rows, expected.num_refused)
    assert list(files(Path(output)).values()) == list(files(Path(whole)).values())
    errors = [Path(f"{path.rstrip('/')}.errors.jsonl") for path in (output, whole)]
    assert errors[0].read_bytes() == errors[1].read_bytes()
    assert len(read_jsonl(errors[0])) == 16
    assert not list(tmp_path.glob(".*"))


def test_what_was_left_out_is_named(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "in.jsonl"
    data.write_text('{"input_text": "good"}\n{"input_text": ""}\n{"input_text": "unusable"}\n{broken\n')
    done = predict_to(tmp_path / "o.jsonl", model, data, job=LongJob(on_error="skip"))
    assert (done.num_rows, done.num_refused) == (1, 3)
    errors = read_jsonl(tmp_path / "o.jsonl.errors.jsonl")
    assert [row["line"] for row in errors] == [2, 3, 4]
    assert errors[0]["where"] == f"{data}:2"
    assert errors[0]["reason"].startswith("input_text: empty")
    assert errors[1]["reason"] == "too long for the model"
    assert errors[2]["reason"].startswith("not valid JSON")
    data.write_text('{"input_text": "good"}\n')
    predict_to(tmp_path / "o.jsonl", model, data)
    assert not (tmp_path / "o.jsonl.errors.jsonl").exists()


def stopped(model: Path, data: Path, output: Path | str, job: LongJob) -> None:
    """A run that ends at a bad last row, with windows to go on from."""
    text = data.read_text()
    data.write_text(text + '{"input_text": "unusable"}\n')
    with pytest.raises(DataError, match="too long for the model") as failure:
        predict_to(output, model, data, job=job)
    assert f"{15 * WINDOW} rows are kept beside it; continue with `resume`" in failure.value.__notes__
    data.write_text(text)


def test_a_failed_run_is_gone_on_with(model: Path, data: Path, tmp_path: Path) -> None:
    predict_to(tmp_path / "whole.jsonl", model, data)
    stopped(model, data, tmp_path / "o.jsonl", LongJob())
    assert not (tmp_path / "o.jsonl").exists()
    done = predict_to(tmp_path / "o.jsonl", model, data, job=LongJob(resume=True))
    assert done == Predicted(num_rows=NUM_ROWS, num_resumed=15 * WINDOW)
    assert (tmp_path / "o.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_without_resume_it_is_started_anew(model: Path, data: Path, tmp_path: Path) -> None:
    stopped(model, data, tmp_path / "o.jsonl", LongJob())
    assert predict_to(tmp_path / "o.jsonl", model, data) == Predicted(num_rows=NUM_ROWS)
    assert not list(tmp_path.glob(".*"))


def test_nothing_to_resume_is_no_error(model: Path, data: Path, tmp_path: Path) -> None:
    assert predict_to(tmp_path / "o.jsonl", model, data, job=LongJob(resume=True)) == Predicted(num_rows=NUM_ROWS)


def test_another_input_model_or_setting_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    stopped(model, data, output, LongJob())
    resumed, text = LongJob(resume=True), data.read_text()
    data.write_text(text.replace('"n": 0', '"n": 0, "id": "other"', 1))
    with pytest.raises(ConfigError, match="not the rows of the interrupted run"):
        predict_to(output, model, data, job=resumed)
    data.write_text("\n".join(text.splitlines()[:20]))
    with pytest.raises(ConfigError, match="not the rows"):
        predict_to(output, model, data, job=resumed)
    data.write_text(text)
    with pytest.raises(ConfigError, match="had another setting"):
        predict_to(output, model, data, job=LongJob(resume=True, keep=("n",)))
    with pytest.raises(ConfigError, match="had another setting"):
        predict_to(output, model, data, job=resumed, max_tokens_per_pass=64)
    (model / "model.safetensors").write_bytes(b"WEIGHTS")
    with pytest.raises(ConfigError, match="had another model"):
        predict_to(output, model, data, job=resumed)
    (model / "model.safetensors").write_bytes(b"weights")
    assert predict_to(output, model, data, job=resumed).num_resumed == 15 * WINDOW


@pytest.mark.parametrize(("name", "other"), [("o.csv", "o"), ("o", "o.csv"), ("o.jsonl", "o/")])
def test_another_output_neither_takes_nor_removes_what_was_kept(
    model: Path, data: Path, tmp_path: Path, name: str, other: str
) -> None:
    """Whether it is resumed or begins."""
    stopped(model, data, tmp_path / name, LongJob())
    for resume in (True, False):
        done = predict_to(f"{tmp_path}/{other}", model, data, job=LongJob(resume=resume))
        assert done == Predicted(num_rows=NUM_ROWS)
        assert len(rows_of(tmp_path / other)) == NUM_ROWS
    assert predict_to(tmp_path / name, model, data, job=LongJob(resume=True)).num_resumed == 15 * WINDOW


def test_another_form_under_the_same_name_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    stopped(model, data, tmp_path / "o.jsonl", LongJob())
    with pytest.raises(ConfigError, match=r"had another form of the output; use the same .* or start over"):
        predict_to(f"{tmp_path}/o.jsonl/", model, data, job=LongJob(resume=True))
    assert predict_to(tmp_path / "o.jsonl", model, data, job=LongJob(resume=True)).num_resumed == 15 * WINDOW


@pytest.mark.parametrize("name", OUTPUTS)
def test_killed_while_it_takes_its_place(model: Path, data: Path, tmp_path: Path, name: str) -> None:
    """At every move, over an older output with more parts; what is there already is kept and the rest is moved."""
    with data.open("a") as file:
        file.write('{"input_text": ""}\n')
    job, resumed = LongJob(on_error="skip"), LongJob(on_error="skip", resume=True)
    whole = f"{tmp_path}/whole-{name}"
    predict_to(whole, model, data, job=job)
    expected, num_kills = list(files(Path(whole)).values()), 0
    for place, function in ((os, "replace"), (shutil, "rmtree")):
        for number in itertools.count(1):
            (tmp_path / f"{function}{number}").mkdir()
            output = f"{tmp_path}/{function}{number}/{name}"
            old_output(Path(output), is_directory=name.endswith("/"))
            if not killed_at(place, function, number, partial(predict_to, output, model, data, job=job)):
                break
            num_kills += 1
            done = predict_to(output, model, data, job=resumed)
            assert (done.num_rows, done.num_refused) == (NUM_ROWS, 1)
            assert list(files(Path(output)).values()) == expected
            assert len(read_jsonl(Path(f"{output.rstrip('/')}.errors.jsonl"))) == 1
            assert not list(Path(output).parent.glob(".*"))
    assert num_kills >= (9 if name.endswith("/") else 3)


def old_output(output: Path, *, is_directory: bool) -> None:
    """What an older run made, with rows that it left out."""
    output.with_name(f"{output.name}.errors.jsonl").write_text("{}\n" * 9)
    if not is_directory:
        output.write_text("old")
        return
    output.mkdir()
    for number in range(0, 9, 2):
        (output / f"part-{number:05d}.parquet").write_text("old")


@pytest.mark.parametrize(("name", "stop_after"), [("o.jsonl", 1), ("parts/", 2)])
def test_what_was_on_its_way_is_finished_without_the_model(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, stop_after: int
) -> None:
    """Ctrl-C once something is in its place: the note says what to do, and it is true."""
    predict_to(f"{tmp_path}/whole-{name}", model, data)
    output, replace, moved = f"{tmp_path}/{name}", os.replace, []

    def interrupted(source: Path, target: Path) -> None:
        replace(source, target)
        moved.extend([target] if Path(target).is_relative_to(tmp_path / name) else [])
        if len(moved) == stop_after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt) as stop:
            predict_to(output, model, data)
    assert stop.value.__notes__ == [
        f"all {NUM_ROWS} rows are predicted, but {output} may be incomplete; complete it with `resume`"
    ]
    resumed, text = LongJob(resume=True), data.read_text()
    data.write_text(text + '{"input_text": "more"}\n')
    with pytest.raises(ConfigError, match="not the rows of the interrupted run"):
        predict_to(output, model, data, job=resumed)
    data.write_text(text)
    monkeypatch.setattr("helpers.jobs.HashClassifier.scored", lambda *_, **__: pytest.fail("labelled again"))
    done = predict_to(output, model, data, job=resumed)
    assert done == Predicted(num_rows=NUM_ROWS, num_resumed=NUM_ROWS)
    assert list(files(Path(output)).values()) == list(files(Path(f"{tmp_path}/whole-{name}")).values())
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("name", "damaged"), [("o.csv", "rows"), ("parts/", "parts/part-00001.parquet")])
@pytest.mark.parametrize("change", [os.unlink, lambda path: os.truncate(path, 1)], ids=["missing", "short"])
def test_what_is_damaged_is_refused(
    model: Path, data: Path, tmp_path: Path, name: str, damaged: str, change: Callable[[Path], None]
) -> None:
    """No row is made up: what a file lacks was never filled with zeros."""
    stopped(model, data, f"{tmp_path}/{name}", LongJob())
    (kept,) = tmp_path.glob(".*")
    change(kept / damaged)
    if damaged == "rows" or change is os.unlink:  # a part is moved into place in one step: none is short
        with pytest.raises(ConfigError, match=r"is missing or too short.*start over without `resume`"):
            predict_to(f"{tmp_path}/{name}", model, data, job=LongJob(resume=True))
    assert predict_to(f"{tmp_path}/{name}", model, data) == Predicted(num_rows=NUM_ROWS)


def test_a_decision_is_obeyed(monkeypatch: pytest.MonkeyPatch, data: Path, tmp_path: Path) -> None:
    model = use(monkeypatch, tmp_path / "model", DECISION)
    done = predict_to(tmp_path / "o.parquet", model, data)
    rows = rows_of(tmp_path / "o.parquet")
    assert [row["abstained"] for row in rows] == [max(row["probabilities"].values()) < 0.6 for row in rows]
    assert [row["label"] is None for row in rows] == [row["abstained"] for row in rows]
    assert 0 < done.num_abstained == sum(row["abstained"] for row in rows) < NUM_ROWS
    for row in rows:
        best = max(row["probabilities"], key=row["probabilities"].get)
        wanted = [name for name, p in row["probabilities"].items() if p >= 0.2 or name == best]
        assert row["label_set"] == wanted


def test_without_a_decision_rows_are_as_before(model: Path, data: Path) -> None:
    assert {tuple(row) for row in predict(model, data)} == {("id", "label", "probabilities")}


@pytest.mark.parametrize(
    ("keep", "part"),
    [(("label",), "`keep=label`: predictions already have"), (("n", "n"), "`keep=n`"), (("p_bill",), "`keep=p_bill`")],
)
def test_names_that_are_taken_are_refused(model: Path, data: Path, tmp_path: Path, keep: Any, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        predict_to(tmp_path / "o.csv", model, data, job=LongJob(keep=keep))


def test_a_column_that_is_not_there_is_named(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'm' to keep"):
        predict_to(tmp_path / "o.csv", model, data, job=LongJob(keep=("m",)))


def test_a_stream_cannot_be_gone_on_with(model: Path, data: Path) -> None:
    with pytest.raises(ConfigError, match="leave `resume` out"):
        predict_to("-", model, data, job=LongJob(resume=True))


def test_on_error_is_one_of_two() -> None:
    with pytest.raises(ConfigError, match="give stop or skip"):
        LongJob(on_error="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", OUTPUTS)
def test_no_rows_are_an_empty_file(model: Path, tmp_path: Path, name: str) -> None:
    data = tmp_path / "in.jsonl"
    data.write_text("")
    assert predict_to(f"{tmp_path}/{name}", model, data) == Predicted(num_rows=0)
    assert rows_of(tmp_path / name) == []
