"""The schema: defaults of the contract, what is refused, and that it is frozen and documented."""

from __future__ import annotations

import pydantic
import pytest

from dhrd.config import RunConfig, resolve
from dhrd.config.load import setting_names
from dhrd.config.tasks import TaskSettings
from dhrd.errors import ConfigError, UserError

CONTRACT_DEFAULTS: dict[str, dict[str, object]] = {
    "model": {
        "revision": None, "head": "linear", "pooling": "last", "dropout": 0.1, "lora": None, "quantization": None,
        "freeze_layers": 0, "dtype": None,
    },
    "data": {
        "train": None, "validation": None, "test": None, "rationales": None, "superglue_root": None, "columns": {},
        "input_template": "{{ input_text }}", "chat": False, "labels": None, "max_input_tokens": 512,
        "max_sequence_tokens": 1024, "rationale_mode": "aligned", "train_limit": None, "validation_limit": None,
        "dev_share": 0,
    },
    "loss": {
        "classification_weight": 1, "reasoning_weight": 1, "lm_targets": "all", "class_weights": None,
        "label_smoothing": 0,
    },
    "training": {
        "num_epochs": 3, "learning_rate": 5e-5, "head_learning_rate": 1e-3, "batch_size": 8,
        "gradient_accumulation_steps": 1, "schedule": "linear", "warmup_share": 0.1, "warmup_steps": None,
        "weight_decay": 0.01, "clip_norm": 1.0, "mixed_precision": "auto", "gradient_checkpointing": False,
        "save_steps": None, "eval_steps": None, "selection": "last", "metric": None, "patience": None,
    },
    "tracking": {"report_to": (), "uri": None, "run_name": None},
}  # fmt: skip


def test_the_defaults_are_the_contract_s() -> None:
    config = RunConfig()
    checked = 0
    for section, settings in CONTRACT_DEFAULTS.items():
        for name, default in settings.items():
            assert getattr(getattr(config, section), name) == default, f"{section}.{name}"
            checked += 1
    assert checked == 48
    assert config.seed == 0


def test_the_configuration_is_frozen() -> None:
    config = RunConfig()
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.seed = 1
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.training.batch_size = 1


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            {"loss": {"classification_schedule": "second_half", "reasoning_schedule": "second_half"}},
            "all losses have weight 0 in the first half",
        ),
        (
            {"loss": {"keyword_weight": 1}, "data": {"rationale_mode": "label_only"}},
            "loss.keyword_weight needs rationales",
        ),
        ({"loss": {"classification_weight": 0, "reasoning_weight": 0}}, "both 0: there is nothing to train"),
        ({"loss": {"reasoning_weight": -1}}, "loss.reasoning_weight"),
        ({"loss": {"privileged_weight": 1, "lm_targets": "input"}}, "privileged_weight needs the rationale, which"),
        ({"loss": {"reasoning_weight": float("nan")}}, "loss.reasoning_weight"),
        ({"loss": {"class_weights": {"a": 0}}}, "loss.class_weights"),
        (
            {"training": {"patience": 2}, "data": {"dev_share": 0.1}, "loss": {"classification_weight": 0}},
            "there is no classifier to choose weights by",
        ),
        ({"data": "rows.json"}, "data: input should be a valid dictionary"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(tree: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(tree)
    assert message in str(caught.value)
    assert isinstance(caught.value, UserError)
    assert caught.value.exit_code == 2


def test_choosing_is_allowed_where_there_are_rows_to_choose_by() -> None:
    assert resolve({"training": {"selection": "best"}, "data": {"dev_share": 0.1}}).training.selection == "best"
    assert resolve({"training": {"patience": 1}, "data": {"validation": "dev.jsonl"}}).training.patience == 1


def test_every_setting_has_a_description_in_the_schema() -> None:
    schema = RunConfig.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    described = [
        (name, field.get("description"))
        for section in sections
        for name, field in section["properties"].items()
        if "$ref" not in field  # a section: its docstring is beside its own properties
    ]
    of_a_task = len(TaskSettings.model_fields)  # whose names have the task's in them
    assert len(described) + 6 == len(list(setting_names())) + of_a_task, "six sections, and every other setting"
    assert [name for name, text in described if not text] == []


def test_a_section_with_nothing_in_it_means_its_defaults() -> None:
    assert resolve({"data": None, "training": None}) == RunConfig()


def test_a_section_without_settings_is_its_defaults() -> None:
    assert resolve({"data": None, "training": {}}) == RunConfig()
