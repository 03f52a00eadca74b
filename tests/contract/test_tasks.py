"""Several tasks from the command line and from Python, as docs/tasks.md has it."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

import dhrd
from dhrd import Classifier, ConfigError
from dhrd.config import load_config
from dhrd.data.labels import ByTask
from dhrd.data.policy_desk import LABELS, REASONS
from dhrd.run.decide import decide
from dhrd.run.predict import predict as run
from helpers.rows import write_jsonl
from helpers.runs import make_config, read_jsonl, rows, run_here

NAMES = [*(f"decision/{name}" for name in LABELS), *(f"reason/{name}" for name in REASONS)]
SHORT = ["data.train=policy_desk:rows=60,hops=2", "data.validation=policy_desk:rows=20,hops=2", "training.num_epochs=1"]


def test_the_commands_of_the_page(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(repository / "configs")
    page = (repository / "docs" / "tasks.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    (settings,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert load_config("configs/tasks.yaml").tasks == load_config(None, **yaml.safe_load(settings)).tasks
    (tmp_path / "mail.csv").write_text(
        'input_text\nthe kettle came broken\n"it is late, no receipt"\n', encoding="utf-8"
    )
    commands = [shlex.split(line.removeprefix("dhrd ")) for line in block.splitlines()]
    assert [words[0] for words in commands] == ["train", "evaluate", "predict"]
    for words in commands:
        short = [part for setting in SHORT for part in ("--set", setting)] if words[0] == "train" else []
        ended = run_here(capsys, *words, *short)
        assert ended.code == 0, ended.err
        if words[0] == "evaluate":
            assert (
                "decision: 20 rows" in ended.out and "reason: 20 rows" in ended.out and "means over tasks" in ended.out
            )
    with (tmp_path / "answers.csv").open(encoding="utf-8") as file:
        answers = list(csv.DictReader(file))
    assert list(answers[0]) == ["id", "decision/label", "reason/label", *(f"p_{name}" for name in NAMES)]
    assert len(answers) == 2 and answers[0]["decision/label"] in LABELS and answers[0]["reason/label"] in REASONS
    card = (tmp_path / "output/tasks/README.md").read_text(encoding="utf-8")
    assert "one of each task" in card and "| decision/accuracy |" in card and "| reason/log_loss |" in card


TASKS = "tasks={what: {column: label}, tags: {multi_label: true}}"


def two_tasks(count: int) -> list[dict[str, Any]]:
    """Rows of one label in `label`, and some of two or none in `tags`; each lacks one of them now and then."""
    found = rows(count)
    for number, row in enumerate(found):
        row["tags"] = (["even"], [], ["even", "odd"], ["odd"])[number % 4]
        if number % 4 == 0:
            del row[("tags", "label")[number // 4 % 2]]
    return found


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tasks")
    config = make_config(
        tiny_backbone,
        directory,
        TASKS,
        "training.calibrate=true",
        "training.selection=best",
        "training.metric=tags/micro_f1",
    )
    write_jsonl(directory / "train.jsonl", two_tasks(24))
    write_jsonl(directory / "validation.jsonl", two_tasks(12))
    dhrd.train(config, device="cpu")
    return directory / "out"


def test_answers_are_by_task(artifact: Path, tmp_path: Path) -> None:
    classifier = Classifier.from_pretrained(artifact, device="cpu")
    asked = ["case 1: keep", "case 2: repair x"]
    found, p_BC = classifier.predict(asked), classifier.predict_proba(asked)
    assert classifier.labels.names == ("what/keep", "what/repair", "what/return", "tags/even", "tags/odd")
    for answer, p_C in zip(found, p_BC, strict=True):
        assert isinstance(answer, dict) and list(answer) == ["what", "tags"]
        assert answer["what"] == ("keep", "repair", "return")[p_C[:3].argmax()] and p_C[:3].sum() == pytest.approx(1)
        assert answer["tags"] == [name for name, p in zip(("even", "odd"), p_C[3:], strict=True) if p >= 0.5]
    given = write_jsonl(tmp_path / "rows.jsonl", [{"id": str(i), "input_text": text} for i, text in enumerate(asked)])
    run.predict_to(tmp_path / "out.jsonl", artifact, given, device="cpu")
    run.predict_to(tmp_path / "out.parquet", artifact, given, device="cpu")
    lines, table = read_jsonl(tmp_path / "out.jsonl"), pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [line["label"] for line in lines] == found == [line["label"] for line in table]
    assert lines[0]["probabilities"] == table[0]["probabilities"] and list(lines[0]["probabilities"]) == list(
        classifier.labels.names
    )


def test_each_task_is_evaluated_on_the_rows_that_have_it(artifact: Path) -> None:
    given = two_tasks(12)
    evaluation = dhrd.evaluate(artifact, given, device="cpu")
    tasks = evaluation.metrics["tasks"]
    assert {name: own["num_examples"] for name, own in tasks.items()} == {
        "what": sum("label" in row for row in given), "tags": sum("tags" in row for row in given)
    }  # fmt: skip
    assert evaluation.metrics["accuracy"] == pytest.approx((tasks["what"]["accuracy"] + tasks["tags"]["accuracy"]) / 2)
    for row, line in zip(given, evaluation.rows(), strict=True):
        assert line["gold"] == {"what": row.get("label"), "tags": row.get("tags")}
        assert isinstance(line["label"]["what"], str) and isinstance(line["label"]["tags"], list)
    right = [line["label"]["what"] == line["gold"]["what"] for line in evaluation.rows() if line["gold"]["what"]]
    assert tasks["what"]["accuracy"] == pytest.approx(sum(right) / len(right))
    example = dhrd.Example(input_text="case 1: keep", label=ByTask({"what": "keep"}))
    assert list(dhrd.evaluate(artifact, [example], device="cpu").metrics["tasks"]) == ["what"]


def test_a_copy_without_run_json_knows_its_columns(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(artifact, tmp_path / "copy", ignore=shutil.ignore_patterns("run.json")))
    data = write_jsonl(tmp_path / "rows.jsonl", two_tasks(12))
    given = ("--data", data, "--device", "cpu", "--json", "-")
    one, other = (run_here(capsys, "evaluate", "--model", place, *given) for place in (artifact, copy))
    assert (one.code, other.code) == (0, 0), other.err
    assert json.loads(one.out) == json.loads(other.out) and json.loads(one.out)["tasks"].keys() == {"what", "tags"}


def test_the_artifact_says_what_it_is(artifact: Path) -> None:
    manifest, config = (json.loads((artifact / name).read_text()) for name in ("dhrd.json", "config.json"))
    assert manifest["task_columns"] == {"what": "label"}
    assert set(manifest["calibration"]) == {"temperature/what", "temperature/tags"}
    assert config["problem_type"] == "multi_label_classification"
    assert manifest["training"]["metrics"]["tasks"].keys() == {"what", "tags"}


def test_what_is_of_one_task_is_refused(artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = two_tasks(12)
    with pytest.raises(
        ConfigError, match=r"a decision supports a single task, but this model was trained with `tasks` \(what, tags\)"
    ):
        decide(artifact, given, targets=["accuracy>=0.5"], device="cpu")
    for mode, what in (("cot", "an answer of the reasoning head"), ("cascade", "an answer of the reasoning head")):
        options: dict[str, Any] = {"threshold": 0.5} if mode == "cascade" else {}
        with pytest.raises(ConfigError, match=f"{what} supports a single task"):
            dhrd.evaluate(artifact, given, mode=mode, device="cpu", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a cascade supports a single task"):
        Classifier.from_pretrained(artifact, device="cpu", cascade=dhrd.CoT(), threshold=0.5)
    evaluation = dhrd.evaluate(artifact, given, device="cpu")
    files = [str(write_jsonl(tmp_path / f"{name}.jsonl", list(evaluation.rows()))) for name in "ab"]
    ended = run_here(capsys, "compare", *files)
    assert ended.code == 2 and "gold: of several tasks" in ended.err
    data = write_jsonl(tmp_path / "empty.jsonl", [{"input_text": "case", "id": "1"}])
    ended = run_here(capsys, "evaluate", "--model", artifact, "--data", data)
    assert ended.code == 2
    assert "label: missing for every task (what (column 'label'), tags (column 'tags'))" in ended.err


def test_a_metric_of_no_task_is_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    config = make_config(tiny_backbone, tmp_path, TASKS, "training.selection=best", "training.metric=what/micro_f1")
    write_jsonl(tmp_path / "train.jsonl", two_tasks(24))
    write_jsonl(tmp_path / "validation.jsonl", two_tasks(12))
    with pytest.raises(
        ConfigError, match=r"'what/micro_f1' is not a metric of this task; give one of accuracy.*tags/micro_f1"
    ):
        dhrd.train(config, device="cpu")
