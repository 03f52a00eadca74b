"""From names to a request: tasks, arms, grids, and what is refused before anything is run."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from dhrd.config import load_config
from dhrd.errors import ConfigError
from dhrd.experiments import STUDIES
from dhrd.experiments.asked import RequestNames, check_data, find_arms, find_conditions, find_tasks, read_grid
from dhrd.experiments.plan import Request
from helpers.runs import write_rows
from helpers.study import STUDY

SUPERGLUE = Path("../shared/data/superglue")


def test_tasks_are_those_that_are_there(tmp_path: Path) -> None:
    for folder in ("CB", "RTE"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.jsonl").touch()
    base = load_config(overrides=[f"data.superglue_root={tmp_path}"])
    assert find_tasks(base, None) == ("cb", "rte")
    assert find_tasks(base, ["rte"]) == ("rte",)
    assert len(find_tasks(load_config(), None)) == 7


def test_own_data_is_one_task(tmp_path: Path) -> None:
    assert find_tasks(load_config(overrides=["data.train=mail_train.jsonl"]), None) == ("mail",)
    named = load_config(overrides=["data.train=superglue:cb", f"data.superglue_root={tmp_path}"])
    assert find_tasks(named, None) == ("cb",)
    assert find_tasks(named, ["rte", "wsc"]) == ("rte", "wsc")
    assert len(find_tasks(load_config(overrides=["data.train=superglue:cb"]), ["all"])) == 7


@pytest.mark.parametrize(
    ("overrides", "tasks", "message"),
    [
        ([], ["cb", "xnli"], "`tasks` xnli: unknown; give all, or of boolq, cb"),
        (["data.superglue_root=/nowhere"], None, "has no task; it must hold CB/train.jsonl"),
        (["data.train=mail.jsonl"], ["cb"], "leave one of them out"),
    ],
)
def test_tasks_that_are_not_there_are_refused(overrides: list[str], tasks: list[str] | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_tasks(load_config(overrides=overrides), tasks)


def test_a_grid_that_names_a_setting_twice_is_refused() -> None:
    assert read_grid(["training.learning_rate=0.1,0.2"]) == {"training.learning_rate": (0.1, 0.2)}
    with pytest.raises(ConfigError, match=r"`grid` training\.learning_rate: given twice; give all its values at once"):
        read_grid(["training.learning_rate=0.1", "training.learning_rate=0.2"])


def test_decoded_answers_are_not_chosen_by_their_probabilities(tmp_path: Path) -> None:
    write_rows(tmp_path)
    data = [f"data.{name}={tmp_path / name}.jsonl" for name in ("train", "validation")]
    base = load_config(overrides=[*data, "training.metric=log_loss"])
    names = RequestNames(study="weights", base=base, arms=["pooled", "cot_student"])
    check_data(names.request())  # nothing is chosen
    with pytest.raises(ConfigError, match="log_loss cannot choose for the arm cot_student, whose answers are decoded"):
        check_data(replace(names, grid=["training.learning_rate=1e-3,1e-4"]).request())


def test_optional_arms_are_asked_for_and_unknown_ones_refused() -> None:
    study = STUDIES["main"]
    assert [arm.name for arm in find_arms(study, None)] == ["pooled", "dhrd"]
    assert [arm.name for arm in find_arms(study, ["dhrd_mlp", "pooled_mlp"])] == ["pooled_mlp", "dhrd_mlp"]
    with pytest.raises(ConfigError, match="`arms` best: main has pooled, dhrd, pooled_mlp, dhrd_mlp"):
        find_arms(study, ["best"])


def test_a_grid_is_read_as_yaml() -> None:
    assert read_grid(["training.learning_rate=1e-4,3e-4", "loss.lm_targets=all,continuation"]) == {
        "training.learning_rate": (1e-4, 3e-4),
        "loss.lm_targets": ("all", "continuation"),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.learning_rate", "write it as section.key=value,value"),
        ("training.learning_rat=1", "did you mean training.learning_rate"),
        ("training.learning_rate=fast", "training.learning_rate"),
        ("model.loss_weight_alpha=0.3,0.5", "`grid` model.loss_weight_alpha: not one setting; give the name"),
        ("seed=0,1", "`grid` seed: nothing to choose by training rows; give `seeds`"),
        ("model.name_or_path=a,b", "`grid` model.name_or_path: .* give `backbones`"),
        ("model.lora=true,false", "`grid` model.lora: not one setting"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_grid([text])


def test_missing_rationales_are_refused_before_anything_is_run(tmp_path: Path) -> None:
    study = STUDIES["main"]
    request = Request(
        study=study,
        base=load_config(),
        tasks=("cb", "rte"),
        backbones=("x",),
        num_seeds=1,
        arms=find_arms(study, None),
    )
    with pytest.raises(ConfigError, match=r"dhrd learns from rationales: give their files with `data\.rationales="):
        check_data(request)
    (tmp_path / "cb.jsonl").touch()
    with_files = replace(request, base=load_config(overrides=[f"data.rationales={tmp_path}/{{task}}.jsonl"]))
    with pytest.raises(ConfigError, match=r"rte\.jsonl: no such file, for rte"):
        check_data(with_files)
    check_data(replace(with_files, tasks=("cb",)))
    check_data(replace(request, arms=find_arms(study, ["pooled"])))  # nothing learns from rationales
    with pytest.raises(ConfigError, match=r"data\.validation is not set"):
        check_data(replace(request, base=load_config(overrides=["data.train=mail.jsonl"])))


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("policy_desk:rows=400,hops=2,noise=0.25,seed={seed}", "policy_desk"),
        ("hub:org/mail:en", "mail:en"),
        ("rows/mail_train.jsonl", "mail"),
        ("rows/mail_train_{seed}.jsonl", "mail"),
        ("{seed}.jsonl", "data"),
        ("rows/cb_train.jsonl", "cb_rows"),
    ],
)
def test_a_name_for_own_data(spec: str, name: str) -> None:
    assert find_tasks(load_config(overrides=[f"data.train='{spec}'"]), None) == (name,)


def test_settings_of_several_tasks_are_refused() -> None:
    base = load_config(overrides=["data.train=mail.jsonl", "tasks={what: {column: label}, why: {}}"])
    for study in ("main", "controlled"):
        with pytest.raises(
            ConfigError, match=r"what, why under tasks: leave that out \(tasks=null\), and give the column"
        ):
            RequestNames(study=study, base=base).request()


def test_tasks_of_a_study_are_asked_for_by_name() -> None:
    base = load_config()
    assert find_conditions(STUDY, base, ["many"]) == ("many",)
    assert find_conditions(STUDY, base, ["all"]) == ("few", "many")
    with pytest.raises(ConfigError, match="`tasks` cb: two has few, many"):
        find_conditions(STUDY, base, ["cb"])
    with pytest.raises(ConfigError, match=r"data\.train is mail\.jsonl: leave it out, as two makes its own rows"):
        find_conditions(STUDY, load_config(overrides=["data.train=mail.jsonl"]), None)


def test_backbones_in_the_home_directory_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell opens a `~` at the beginning of a list alone."""
    monkeypatch.setenv("HOME", "/home/me")
    base = load_config(data__train="mail.jsonl")
    assert RequestNames(study="main", base=base, backbones=("a", "~/b")).request().backbones == ("a", "/home/me/b")


def test_a_metric_that_is_none_is_refused_before_anything_is_run(tmp_path: Path) -> None:
    write_rows(tmp_path)
    rows = {f"data__{part}": str(tmp_path / f"{part}.jsonl") for part in ("train", "validation")}
    for metric, is_known in (("macro_f1", True), ("foo", False)):
        request = RequestNames(study="main", base=load_config(**rows, training__metric=metric)).request()
        with nullcontext() if is_known else pytest.raises(ConfigError, match="'foo' is not a metric of this task"):
            check_data(request)


def test_own_rows_named_as_a_task_keep_their_files_of_rationales(tmp_path: Path) -> None:
    """They are called otherwise in tables, so that they are not scored as the task's."""
    write_rows(tmp_path)
    (tmp_path / "cb.jsonl").write_bytes((tmp_path / "train.jsonl").read_bytes())
    given = {"train": "cb.jsonl", "validation": "validation.jsonl", "rationales": "{task}.jsonl"}
    base = load_config(overrides=[f"data.{name}={tmp_path}/{file}" for name, file in given.items()])
    request = RequestNames(study="main", base=base).request()
    assert request.tasks == ("cb_rows",)
    check_data(request)
