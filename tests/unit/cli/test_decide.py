"""`dhrd decide`, and the commands of the pages on decisions and on long jobs, as they are written there."""

from __future__ import annotations

import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from helpers.jobs import use
from helpers.rows import write_jsonl
from helpers.runs import Ended, read_jsonl, run_here

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An artifact `output` whose surest answers are right, with the files that the pages name."""
    from dhrd.run.predict.predict import predict

    monkeypatch.chdir(tmp_path)
    output = use(monkeypatch, tmp_path / "output")
    for name in ("dev", "test", "new"):
        rows = [{"id": f"{name}{i}", "input_text": f"{name} {i}", "label": "bill", "customer": i} for i in range(900)]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
        for row, prediction in zip(rows, list(predict(output, tmp_path / f"{name}.jsonl")), strict=True):
            p = prediction["probabilities"]
            row["label"] = sorted(p, key=p.get)[-1 if max(p.values()) > 0.6 else -2]
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    (tmp_path / "rows").mkdir()
    write_jsonl(tmp_path / "rows" / "a.jsonl", rows[:40])
    for number in range(2):
        (tmp_path / f"rows-{number}.csv").write_text("input_text,customer\none,A\ntwo,B\n,C\n")
    return tmp_path


def commands(page: str) -> list[list[str]]:
    """What the first block of a page runs."""
    block = re.search(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert block is not None
    return [shlex.split(line)[1:] for line in block[1].splitlines()]


@pytest.mark.parametrize(("page", "count"), [("decisions.md", 6), ("scale.md", 3)])
def test_the_page_runs_as_written(capsys: Any, place: Path, page: str, count: int) -> None:
    lines = commands(page)
    assert len(lines) == count
    for line in lines:
        ended = run_here(capsys, *line)
        assert ended.code == 0, (line, ended.err)


def decide(capsys: Any, *given: object) -> Ended:
    return run_here(capsys, "decide", "--model", "output", "--data", "dev.jsonl", *given)


def test_what_is_decided_is_shown_and_obeyed(capsys: Any, place: Path) -> None:
    ended = decide(capsys, "--target", "accuracy>=0.95")
    assert re.search(r"accuracy>=0\.95 │ (0\.9\d\d|1\.000) │", ended.out), ended.out
    assert "of these 900 rows are answered; the decision is saved in output" in ended.out
    assert "chosen on these very rows" in ended.out
    ended = run_here(capsys, "evaluate", "--model", "output", "--data", "test.jsonl", "--json", "m.json")
    assert "were only the surest rows answered" in ended.out
    metrics = json.loads((place / "m.json").read_text())["decision"]
    assert metrics["targets"][0]["share"] >= 0.95
    ended = run_here(capsys, "predict", "--model", "output", "--input", "new.jsonl", "--output", "o.jsonl")
    num_abstained = sum(row["abstained"] for row in read_jsonl(place / "o.jsonl"))
    assert f"900 rows are in o.jsonl; {num_abstained} of them have no label" in ended.out


def test_a_decision_that_is_replaced_is_named(capsys: Any, place: Path) -> None:
    first = decide(capsys, "--target", "accuracy>=0.95", "--sets", "0.9")
    assert "replaces" not in first.out
    then = decide(capsys, "--target", "accuracy>=0.5", "--confidence", "0.8")
    was = "accuracy>=0.95 and label sets of coverage 0.9, with confidence 0.9, on 900 rows"
    assert f"it replaces the one that was there: {was}" in " ".join(then.out.split())


def test_errors_name_flags(capsys: Any, place: Path) -> None:
    assert "give a --target such as" in decide(capsys).err
    assert "--confidence 2: not between 0 and 1" in decide(capsys, "--target", "accuracy>=0.9", "--confidence", 2).err
    ended = decide(capsys, "--target", "accuracy>=0.9999")
    assert ended.code == 2
    assert re.search(r"the 900 rows cannot show it; about \d+ rows like these would", ended.err)


def test_bad_rows_are_counted(capsys: Any, place: Path) -> None:
    given = "predict", "--model", "output", "--input", "rows-*.csv", "--output", "o.csv"
    assert "rows-0.csv:4: input_text: empty" in run_here(capsys, *given).err
    ended = run_here(capsys, *given, "--on-error", "skip")
    assert ended.out == "4 rows are in o.csv; 2 bad rows were skipped and are listed in o.csv.errors.jsonl\n"
    assert [Path(row["where"]).name for row in read_jsonl(place / "o.csv.errors.jsonl")] == [
        "rows-0.csv:4",
        "rows-1.csv:4",
    ]
    assert "--on-error ignore: unknown" in run_here(capsys, *given, "--on-error", "ignore").err
    assert "leave --resume out" in run_here(capsys, *given[:-1], "-", "--resume").err


@pytest.mark.parametrize("given", [("--target", "accuracy>=0.5"), ("--sets", "0.9"), ("--data", "dev.jsonl")])
def test_a_decision_is_not_taken_away_where_one_is_asked_for(
    capsys: Any, tmp_path: Path, given: tuple[str, ...]
) -> None:
    ended = run_here(capsys, "decide", "--model", tmp_path, "--clear", *given)
    assert ended.code == 2
    assert ended.error_lines[0].startswith("dhrd: error: --clear removes the decision")


def test_a_shells_loop_keeps_its_list(capsys: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an artifact that was trained on standard input: what stands there now is not read."""
    stdin = io.TextIOWrapper(io.BytesIO(b"the next model\n"))
    monkeypatch.setattr("sys.stdin", stdin)
    config = {"model": {"name_or_path": "tiny"}, "data": {"train": "-"}, "output_dir": "output"}
    (place / "output" / "run.json").write_text(json.dumps({"config": config}))
    ended = decide(capsys, "--target", "accuracy>=0.8")
    assert ended.code == 0, ended.err
    assert "cannot check whether the model was trained on these rows: data.train (-) was a stream" in ended.err
    assert stdin.read() == "the next model\n"
