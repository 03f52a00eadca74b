"""`dhrd config show` and `dhrd config schema`."""

from __future__ import annotations

import json

import pytest
import yaml

from dhrd.config import RunConfig
from dhrd.config.load import setting_names
from helpers.runs import run_here

Capsys = pytest.CaptureFixture[str]


def test_config_schema_says_what_each_setting_means(capsys: Capsys) -> None:
    schema = json.loads(run_here(capsys, "config", "schema").out)
    sections = {name: part["properties"] for name, part in schema["$defs"].items()}
    named = [f"{section}.{name}" for section, fields in sections.items() for name in fields]
    silent = [
        f"{s}.{name}" for s, fields in sections.items() for name, field in fields.items() if "description" not in field
    ]
    assert silent == []
    of_tasks = sections["TaskSettings"]  # each task has these, under a name of its own
    assert len(named) - len(of_tasks) == len([name for name in setting_names() if "." in name])


def test_no_value_is_touched(capsys: Capsys) -> None:
    shown = run_here(capsys, "config", "show", "--set=data.train=my_rows_here.jsonl", "--set", "tracking.run_name=a_b")
    tree = yaml.safe_load(shown.out)
    assert (tree["data"]["train"], tree["tracking"]["run_name"]) == ("my_rows_here.jsonl", "a_b")


def test_settings_for_a_program(capsys: Capsys) -> None:
    ended = run_here(capsys, "config", "show", "--set", "seed=7", "--json", "-")
    assert json.loads(ended.out) == RunConfig(seed=7).model_dump(mode="json")
