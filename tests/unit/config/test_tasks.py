"""The settings of several tasks: their names, what each has of its own, and what is of one task alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.config import load_config, resolve
from dhrd.config.tasks import column_of
from dhrd.errors import ConfigError


def test_a_task_has_a_column_labels_and_a_weight(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        "tasks:\n  decision: {column: label, weight: 2}\n  reason:\n  tags: {multi_label: true, labels: [1, 2]}\n"
    )
    config = load_config(tmp_path / "run.yaml", ["tasks.reason.weight=0.5"])
    assert config.tasks is not None and list(config.tasks) == ["decision", "reason", "tags"]
    assert [column_of(name, task) for name, task in config.tasks.items()] == ["label", "reason", "tags"]
    assert [task.weight for task in config.tasks.values()] == [2, 0.5, 1]
    assert config.tasks["tags"].labels == ("1", "2") and config.tasks["tags"].multi_label


@pytest.mark.parametrize("given", ["{}", "null"])
def test_no_tasks_are_one_task(given: str) -> None:
    assert load_config(overrides=[f"tasks={given}"]) == load_config()


@pytest.mark.parametrize("name", ["a/b", "", " a", "a\n", "a:b", 1])
def test_a_name_stands_before_its_labels(name: object) -> None:
    with pytest.raises(ConfigError, match="is not a valid task name; use letters and digits"):
        resolve({"tasks": {name: {}}})  # type: ignore[dict-item]  # YAML reads 1 as a number


@pytest.mark.parametrize(
    "setting", ["data.labels=[a, b]", "data.multi_label=true", "data.columns.label=y", "model.num_labels=3"]
)
def test_what_is_of_one_task_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match="apply to a single task; with `tasks`, set them for each task instead"):
        load_config(overrides=["tasks={a: {}, b: {}}", setting])


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ConfigError, match=r"tasks\.a\.wieght: unknown setting"):
        load_config(overrides=["tasks={a: {wieght: 2}}"])
    with pytest.raises(ConfigError, match=r"tasks\.a\.labels: needs at least two different names"):
        load_config(overrides=["tasks={a: {labels: [x, x]}}"])
