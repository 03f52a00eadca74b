"""What rationales and labels share: one store, one way to ask, one way to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.config import RunConfig, TeacherSettings, load_config
from dhrd.errors import ConfigError, TeacherError
from dhrd.rationales.asking import asked_settings, check_output, looked_at, ready_teacher
from dhrd.rationales.teacher.openai import OpenAITeacher
from helpers.endpoint import FaultyEndpoint, serving
from helpers.runs import read_jsonl
from helpers.teacher import ask, label, write_cases, write_unlabelled


@pytest.mark.parametrize(("run", "what"), [(ask, "rationales"), (label, "labelled rows")])
def test_a_teacher_that_stops_a_run_leaves_what_was_paid_for(tmp_path: Path, run: object, what: str) -> None:
    assert callable(run)
    write = write_cases if run is ask else write_unlabelled
    data, output = write(tmp_path / "d.jsonl", 6), tmp_path / "o.jsonl"
    votes = {} if run is ask else {"votes": 1}
    with serving(FaultyEndpoint(script=["ok"] * 3 + ["401"])) as endpoint:
        with pytest.raises(TeacherError, match=rf"; 3 {what} so far are in .*o\.jsonl"):
            run(endpoint, data, output, concurrency=1, **votes)
        assert [row["id"] for row in read_jsonl(output)] == ["r0", "r1", "r2"]
        run(endpoint, data, output, concurrency=1, **votes)
    assert len(read_jsonl(output)) == 6
    assert endpoint.num_requests == 7


def test_greedy_answers_are_not_asked_for_again() -> None:
    for temperature, attempts in ((0, 1), (0.5, 3)):
        teacher = TeacherSettings(name="local:tiny", temperature=temperature)
        assert asked_settings(RunConfig(teacher=teacher)).attempts == attempts
    with pytest.raises(ConfigError, match="no teacher given"):
        asked_settings(RunConfig())


def test_a_teacher_is_asked_of_one_task() -> None:
    config = load_config(overrides=["teacher.name=local:tiny", "tasks={what: {column: label}, tags: {}}"])
    with pytest.raises(ConfigError, match="about one task at a time: leave out `tasks`"):
        asked_settings(config)


def test_a_teacher_by_its_kind() -> None:
    assert isinstance(ready_teacher(TeacherSettings(name="openai:tiny"), None), OpenAITeacher)


def test_looking_makes_no_file(tmp_path: Path) -> None:
    with looked_at(tmp_path / "o.jsonl") as store:
        assert store.totals().num_records == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("o.json", "labelled rows are JSON lines; give a name that ends in .jsonl"),
        ("no/o.jsonl", "create it first"),
        ("mine.jsonl", "mine.jsonl exists without a mine.answers.sqlite"),
        ("read.jsonl", "would overwrite an input"),
    ],
)
def test_outputs_that_are_refused(tmp_path: Path, name: str, message: str) -> None:
    for given in ("mine.jsonl", "read.jsonl"):
        (tmp_path / given).write_text("{}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        check_output(tmp_path / name, [tmp_path / "read.jsonl"], "labelled rows")
