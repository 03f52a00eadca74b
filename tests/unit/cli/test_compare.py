"""`dhrd compare`: two files, two directories, and what is said of those that cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dhrd.data.superglue import TASKS
from dhrd.metrics.compare import compare
from dhrd.metrics.prediction_files import read_together
from helpers.rows import write_jsonl
from helpers.runs import Ended, run_here

Capsys = pytest.CaptureFixture[str]


def _write(path: Path, *, wrong: int, num_rows: int = 60, task: str | None = None, **changes: Any) -> Path:
    """Predictions as `dhrd evaluate --predictions` writes them, the first `wrong` of them wrong."""
    names = TASKS[task].labels if task else ("keep", "return")
    ids = [f"{task}-val-{i}" if task else f"r{i}" for i in range(num_rows)]
    if task == "multirc":
        ids = [f"multirc-val-{i // 6}-{i // 3}-{i}" for i in range(num_rows)]
    rows = []
    for i, row_id in enumerate(ids):
        gold = names[i % len(names)]
        label = gold if i >= wrong else names[(i + 1) % len(names)]
        p = {name: 0.7 if name == label else 0.3 / (len(names) - 1) for name in names}
        rows.append({"id": row_id, "input_text": "", "gold": gold, "label": label, "probabilities": p, **changes})
    path.parent.mkdir(exist_ok=True)
    return write_jsonl(path, rows)


def _refused(ended: Ended, *parts: str) -> None:
    assert ended.code == 2, ended.err
    assert len(ended.error_lines) == 1, ended.err
    for part in parts:
        assert part in ended.error_lines[0]


def test_two_files(capsys: Capsys, tmp_path: Path) -> None:
    files = _write(tmp_path / "pooled.jsonl", wrong=20), _write(tmp_path / "dhrd.jsonl", wrong=4)
    ended = run_here(capsys, "compare", *files, "--json", tmp_path / "c.json")
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    outcomes = [read_together([file])[0] for file in files]
    names = ("the baseline pooled.jsonl", "dhrd.jsonl")
    assert found == compare([(outcomes[0], outcomes[1])], metric="accuracy", names=names)
    assert found["verdict"].startswith("dhrd.jsonl is better than the baseline pooled.jsonl by 26.7 points")
    assert ended.out.splitlines()[-1] == found["verdict"]
    assert "+0.2667" in ended.out
    assert "60 rows" in ended.out
    assert "<0.0001" in ended.out, "16 rows of 16 one way: p is 2 / 2^16, and never printed as 0"


def test_two_directories_are_paired_by_name(capsys: Capsys, tmp_path: Path) -> None:
    for number in range(3):
        _write(tmp_path / "pooled" / f"seed-{number}.jsonl", wrong=20 + number)
        _write(tmp_path / "dhrd" / f"seed-{number}.jsonl", wrong=4 - number)
    (tmp_path / "pooled" / "metrics.json").write_text("{}", encoding="utf-8")
    directories = tmp_path / "pooled", tmp_path / "dhrd"
    ended = run_here(capsys, "compare", *directories, "--metric", "macro_f1", "--json", tmp_path / "c.json")
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert (found["metric"], found["num_seeds"]) == ("macro_f1", 3)
    assert [test["only_other"] for test in found["mcnemar"]] == [16, 18, 20]
    assert found["seed_differences"] == sorted(found["seed_differences"])
    for name in ("seed-0.jsonl", "seed-1.jsonl", "seed-2.jsonl", "macro_f1", "rows alone", "t interval over"):
        assert name in ended.out
    assert "3 seeds" in ended.out
    assert found["verdict"].startswith("dhrd is better than the baseline pooled by ")
    files = [directory / "seed-0.jsonl" for directory in directories]
    ended = run_here(capsys, "compare", *files)
    assert f"{files[1]} is better than the baseline {files[0]} by 26.7 points" in ended.out


@pytest.mark.parametrize(
    ("task", "flags", "metric"),
    [
        ("cb", (), "macro_f1"),
        ("multirc", (), "f1a"),
        ("multirc", ("--metric", "em"), "em"),
        ("rte", (), "accuracy"),
        ("cb", ("--task", "cb", "--metric", "accuracy"), "accuracy"),
        (None, (), "accuracy"),
    ],
)
def test_the_metric_is_the_tasks(
    capsys: Capsys, tmp_path: Path, task: str | None, flags: tuple[str, ...], metric: str
) -> None:
    files = [_write(tmp_path / name, wrong=wrong, task=task) for name, wrong in (("a.jsonl", 20), ("b.jsonl", 9))]
    ended = run_here(capsys, "compare", *files, *flags, "--json", tmp_path / "c.json")
    assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))["metric"] == metric


def test_a_task_is_not_guessed(capsys: Capsys, tmp_path: Path) -> None:
    """Ids of a task beside one that is not, and a task's ids with other labels."""
    for number, (change, name) in enumerate((({"id": "cb-1"}, "id"), ({"gold": "x", "label": "x"}, "label"))):
        files = []
        for file in ("a.jsonl", "b.jsonl"):
            path = _write(tmp_path / f"{name}-{file}", wrong=9 * (file == "a.jsonl"), task="cb")
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            rows[-1] |= change
            if number:
                for row in rows:
                    row["probabilities"] = None
            files.append(write_jsonl(path, rows))
        ended = run_here(capsys, "compare", *files, "--json", tmp_path / "c.json")
        assert ended.code == 0, ended.err
        assert json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))["metric"] == "accuracy"


def test_written_answers_beside_a_classifier(capsys: Capsys, tmp_path: Path) -> None:
    pooled = _write(tmp_path / "pooled.jsonl", wrong=10)
    cot = _write(tmp_path / "cot.jsonl", wrong=0, label=None, probabilities=None)
    ended = run_here(capsys, "compare", pooled, cot)
    assert ended.code == 0, ended.err
    assert "cot.jsonl is worse than the baseline pooled.jsonl by 83.3 points" in ended.out


def test_what_cannot_be_compared(capsys: Capsys, tmp_path: Path) -> None:
    good = _write(tmp_path / "good.jsonl", wrong=9)
    short = _write(tmp_path / "short.jsonl", wrong=9, num_rows=58)
    _refused(run_here(capsys, "compare", good, short), f"the rows differ: 2 only in {good} ('r58' …); evaluate both")
    turned = [json.loads(line) for line in good.read_text(encoding="utf-8").splitlines()]
    turned[3]["gold"] = "keep"
    other = write_jsonl(tmp_path / "turned.jsonl", turned)
    _refused(run_here(capsys, "compare", good, other), "row 'r3': gold is return in ", "1 of 60 rows differ so")
    strange = _write(tmp_path / "strange.jsonl", wrong=9, task="cb")
    _refused(run_here(capsys, "compare", good, strange), "strange.jsonl:1: gold: 'entailment' is unknown")
    empty = write_jsonl(tmp_path / "empty.jsonl", [])
    _refused(run_here(capsys, "compare", good, empty), "empty.jsonl: there are no rows")
    _refused(run_here(capsys, "compare", good, tmp_path / "none.jsonl"), "none.jsonl: no such file")
    _refused(run_here(capsys, "compare", good, good, "--metric", "f2"), "metric: 'f2' cannot be compared")
    _refused(run_here(capsys, "compare", good, good, "--task", "nli"), "--task nli: unknown; give one of boolq, cb")
    _refused(run_here(capsys, "compare", good, good, "--task", "cb"), "good.jsonl:1: gold: 'keep' is unknown; labels")


def test_directories_whose_names_differ(capsys: Capsys, tmp_path: Path) -> None:
    for name in ("a/seed-0.jsonl", "a/seed-1.jsonl", "b/seed-0.jsonl"):
        _write(tmp_path / name, wrong=5)
    a, b = tmp_path / "a", tmp_path / "b"
    _refused(run_here(capsys, "compare", a, b), f"{b} has no seed-1.jsonl; both directories must have files of the")
    _refused(run_here(capsys, "compare", b, a), f"{b} has no seed-1.jsonl")
    _refused(run_here(capsys, "compare", a, b / "seed-0.jsonl"), "give two files or two directories")
    _write(b / "seed-1.jsonl", wrong=5, num_rows=59)
    _refused(run_here(capsys, "compare", a, b), f"1 only in {a / 'seed-0.jsonl'} ('r59' …); evaluate both on the same")
    (tmp_path / "c").mkdir()
    (tmp_path / "d").mkdir()
    _refused(run_here(capsys, "compare", tmp_path / "c", tmp_path / "d"), "contains no .jsonl files")


def test_two_models_that_answer_alike(capsys: Capsys, tmp_path: Path) -> None:
    file = _write(tmp_path / "a.jsonl", wrong=9)
    ended = run_here(capsys, "compare", file, file)
    assert ended.code == 0, ended.err
    assert "no difference can be told at n = 60: the two score alike whichever rows are drawn" in ended.out
