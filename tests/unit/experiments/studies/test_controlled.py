"""The controlled study: its cells are valid, its backbone is what the generator gives, and it runs end to end."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dhrd.config import ModelSettings, load_config
from dhrd.data.policy_desk.rows import PolicyDesk
from dhrd.experiments.asked import find_arms, find_conditions, with_defaults
from dhrd.experiments.plan import Request, cell_config, planned
from dhrd.experiments.studies.controlled import BACKBONE, NUM_TRAINED_ROWS, STUDY
from dhrd.model.backbone import load_backbone
from helpers.runs import run_here


def make_request(**more: Any) -> Request:
    base = with_defaults(STUDY, load_config())
    given: dict[str, Any] = {"tasks": find_conditions(STUDY, base, None), "arms": find_arms(STUDY, None)}
    return Request(study=STUDY, base=base, backbones=(BACKBONE,), num_seeds=None, **given | more)


def test_arms_and_conditions_are_valid_settings() -> None:
    assert len(list(planned(make_request()))) == 2 * 8 * 7 + 12 * 4 * 5  # two arms are optional
    request = make_request(arms=STUDY.arms)
    asked = list(planned(request))
    assert len(asked) == 2 * 8 * 9 + 12 * 4 * 5
    configs = [cell_config(request, task, backbone, arm, seed) for backbone, task, seed, arm in asked]
    assert len({config.model_dump_json() for config in configs}) == len(asked)
    for config in configs:
        rows = PolicyDesk.parse(str(config.data.train).partition(":")[2])
        assert rows.seed == config.seed
        assert config.training.num_epochs * rows.rows == NUM_TRAINED_ROWS  # so many updates everywhere
        assert rows.rows % config.training.batch_size == 0


def test_every_arm_that_reads_rationales_stands_against_controls() -> None:
    names = {arm.name for arm in STUDY.arms}
    for arm in STUDY.arms:
        assert set(arm.baselines) <= names
        config = load_config(**{name.replace(".", "__"): value for name, value in arm.settings.items()})
        if config.loss.reads_rationales:
            assert {"pooled", "lm_on_x"} <= set(arm.baselines)


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("backbone", repository / "examples/policy_desk/backbone.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_packaged_backbone_is_what_the_generator_gives(script: ModuleType) -> None:
    made = script.make_tokenizer()
    packaged = json.loads((script.PACKAGED / "tokenizer.json").read_text(encoding="utf-8"))
    assert made.get_vocab() == packaged["model"]["vocab"]
    assert script.make_config(made) == json.loads((script.PACKAGED / "config.json").read_text(encoding="utf-8"))


def test_its_tokenizer_knows_all_of_a_held_out_mail_but_the_order_number() -> None:
    tokenizer = load_backbone(ModelSettings(name_or_path=BACKBONE)).tokenizer
    num_orders = 0
    for hops in (1, 4):
        for row in PolicyDesk(rows=100, hops=hops, seed=7).generate("test"):
            text = row["input_text"] + " " + row["rationale"]
            encoded = tokenizer(text, return_offsets_mapping=True)
            unknown = [
                text[start:end]
                for token, (start, end) in zip(encoded.input_ids, encoded.offset_mapping, strict=True)
                if token == tokenizer.unk_token_id
            ]
            assert all(len(word) >= 4 and word.isdigit() for word in unknown)
            num_orders += len(unknown)
            assert len(encoded.input_ids) < 250
    assert num_orders > 0


def test_a_part_of_it_runs_from_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tasks = "rows100-hops2-noise0,rows200-hops2-noise0,rows400-hops2-noise0"
    short = [
        "--set",
        "data.validation_limit=30",
        "--set",
        "training.num_epochs=1",
        "--set",
        "training.batch_size=50",
        "--device",
        "cpu",
    ]
    arms = ["--arms", "lm_on_x,best", "--seeds", "2", "--tasks", tasks]
    ended = run_here(capsys, "reproduce", "controlled", *short, *arms, "--output", str(tmp_path))
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["undone"] == []
    assert report["primary"]["num_tasks"] == 3
    (backbone,) = report["backbones"]
    assert backbone["name"] == "desk_llama"
    assert [(one["baseline"], one["other"]) for one in backbone["over_tasks"]] == [("lm_on_x", "best")]
    hashes = [json.loads(path.read_text())["rows"] for path in (tmp_path / "cells").glob("*.json")]
    assert len(hashes) == 12
    assert len(set(hashes)) == 12  # other rows by task and seed; one arm learns from rationales
    assert "DHRD+" in (tmp_path / "accuracy_by_rows.svg").read_text()
