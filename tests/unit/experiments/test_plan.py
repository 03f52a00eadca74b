"""From a request to cells: settings, folds, choices."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from dhrd.config import load_config
from dhrd.data.superglue import TASKS
from dhrd.errors import ConfigError
from dhrd.experiments.asked import check_data, find_conditions, find_tasks, with_defaults
from dhrd.experiments.cache import Cache
from dhrd.experiments.outcome import look
from dhrd.experiments.plan import NUM_FOLDS, Request, cell_config, choice_cells, choose, final_cells, planned
from dhrd.experiments.study import DHRD, POOLED
from dhrd.training.identity import flat, identity
from helpers.experiments import cell_result, make_request
from helpers.study import STUDY
from helpers.superglue import OFFICIAL, write_official

SUPERGLUE = Path("../shared/data/superglue")


def test_arms_of_a_pair_differ_in_the_reasoning_weight_alone(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path)
    pooled, dhrd = (
        flat(identity(cell_config(request, request.tasks[0], str(tiny_backbone), arm, 3))) for arm in request.arms
    )
    assert {name for name in pooled if pooled[name] != dhrd[name]} == {"loss.reasoning_weight"}
    assert pooled["loss.reasoning_weight"] == 0
    assert pooled["seed"] == 3


@pytest.mark.skipif(not SUPERGLUE.is_dir(), reason="../shared/data is not there")
def test_superglue_cells_have_their_own_rationales(tiny_backbone: Path, tmp_path: Path) -> None:
    teacher = SUPERGLUE.parent / "rationales/teacher/{task}.jsonl"
    base = load_config(overrides=[f"data.superglue_root={SUPERGLUE}", f"data.rationales={teacher}"])
    request = replace(make_request(tiny_backbone, tmp_path), base=base, tasks=("cb", "copa"), num_seeds=2)
    check_data(request)
    named = replace(request, base=load_config(base=base, data__train="superglue:rte"), num_seeds=1)
    assert {cell.config.data.train for cell in final_cells(named, Cache("cpu"), {})} == {
        "superglue:cb",
        "superglue:copa",
    }
    cells = final_cells(request, Cache("cpu"), {})
    assert len(cells) == len({cell.key for cell in cells}) == 8
    assert {cell.config.data.rationales.rpartition("/")[2] for cell in cells} == {"cb.jsonl", "copa.jsonl"}
    assert [cell.config.seed for cell in cells[:4]] == [0, 0, 1, 1]  # pairs are finished first


def test_each_task_has_its_own_rows_whichever_the_settings_name(tiny_backbone: Path, tmp_path: Path) -> None:
    for task, split in itertools.product(("cb", "rte"), ("train", "val")):
        write_official(tmp_path, task, [OFFICIAL[task]], split)
    overrides = ["data.train=superglue:cb", "data.validation=superglue:cb", f"data.superglue_root={tmp_path}"]
    base = load_config(overrides=overrides)
    request = replace(make_request(tiny_backbone, tmp_path, arms=("pooled",)), base=base, tasks=("rte", "cb"))
    cache, found = Cache("cpu"), final_cells(request, Cache("cpu"), {})
    assert [cell.task for cell in found] == ["rte", "cb"] and found[0].key != found[1].key
    for cell in found:
        rows = cache.rows(cell.config)
        assert rows.task == TASKS[cell.task]
        assert [example.id for example in (*rows.train, *rows.validation)] == [
            f"{cell.task}-{split}-3" for split in ("train", "validation")
        ]


def test_held_out_rows_of_ones_own_take_the_place_of_superglues(tiny_backbone: Path, tmp_path: Path) -> None:
    base = load_config(overrides=["data.train=superglue:cb", "data.validation=mine.jsonl"])
    config = cell_config(replace(make_request(tiny_backbone, tmp_path), base=base), "cb", "x", POOLED, 0)
    assert (config.data.train, config.data.validation) == ("superglue:cb", "mine.jsonl")


def test_a_choice_is_made_on_folds_of_train_and_never_sees_validation(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, grid={"training.learning_rate": (1e-4, 1e-3)})
    cache = Cache("cpu")
    candidates = choice_cells(request, cache)
    assert {key[2] for key in candidates} == {"pooled", "dhrd"}  # the same grid for both
    train = {example.id for example in cache.rows(request.base).train}
    for points in candidates.values():
        assert [point["training.learning_rate"] for point, _ in points] == [1e-4, 1e-3]
        for _, cells in points:
            assert [cell.fold for cell in cells] == [(fold, NUM_FOLDS) for fold in range(NUM_FOLDS)]
            held_out = [example.id for cell in cells for example in cache.rows(cell.config, cell.fold).validation]
            assert sorted(held_out) == sorted(train)


def test_the_better_mean_over_folds_is_chosen(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, grid={"training.learning_rate": (1e-4, 1e-3, 1e-2)}, arms=("dhrd",))
    ((_, points),) = choice_cells(request, Cache("cpu")).items()
    assert choose(request, points) is None
    values = {1e-4: [0.5] * 5, 1e-3: [0.9, 0.9, 0.9, 0.2, 0.2], 1e-2: [0.62] * 5}
    for point, cells in points:
        for cell, value in zip(cells, values[point["training.learning_rate"]], strict=True):
            request.store.save(cell, cell_result(accuracy=value))
    assert choose(request, points) == {"training.learning_rate": 1e-3}  # 0.62 both: the earlier of equals


def test_settings_that_diverge_on_a_fold_lose(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, grid={"training.learning_rate": (1e-3, 1e9)}, arms=("dhrd",))
    cache = Cache("cpu")
    ((_, points),) = choice_cells(request, cache).items()
    (_, slow), (_, wild) = points
    for cell in wild[1:]:
        request.store.save(cell, cell_result(accuracy=1.0))
    request.store.save_diverged(wild[0], "step 1: grad_norm is nan")
    assert choose(request, points) is None  # the others are not judged yet
    for cell in slow:
        request.store.save(cell, cell_result(accuracy=0.1))
    assert choose(request, points) == {"training.learning_rate": 1e-3}
    assert not look(request, cache).failures
    request.store.save_diverged(slow[4], "step 2: grad_norm is nan")
    assert choose(request, points) is None
    assert look(request, cache).failures == {
        wild[0].key: "step 1: grad_norm is nan",
        slow[4].key: "step 2: grad_norm is nan",
    }


def test_many_rows_need_one_fold_alone(tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dhrd.experiments.plan._FEW_ROWS", 10)
    request = make_request(tiny_backbone, tmp_path, study="schedules", arms=("dhrd_course",))
    ((_, points),) = choice_cells(request, Cache("cpu")).items()
    assert [len(cells) for _, cells in points] == [1, 1, 1]


def test_rows_that_change_are_other_cells(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path)
    before = {cell.key for cell in final_cells(request, Cache("cpu"), {})}
    text = (tmp_path / "train.jsonl").read_text().replace("case 0", "case 00", 1)
    (tmp_path / "train.jsonl").write_text(text)
    assert not before & {cell.key for cell in final_cells(request, Cache("cpu"), {})}


def test_rows_may_differ_by_seed(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, num_seeds=2)
    train = (tmp_path / "train.jsonl").read_text()
    for seed in (0, 1):
        (tmp_path / f"train_{seed}.jsonl").write_text(train.replace("case", f"case of {seed}"))
    base = load_config(base=request.base, data__train=f"{tmp_path}/train_{{seed}}.jsonl")
    reasoned = replace(request, base=load_config(base=base, data__rationales="why.jsonl"))
    assert cell_config(reasoned, "train", "x", POOLED, 1).data.train == f"{tmp_path}/train_1.jsonl"
    cache = Cache("cpu")
    cells = final_cells(replace(request, base=base, tasks=find_tasks(base, None)), cache, {})
    assert [cell.task for cell in cells] == ["train"] * 4
    assert [cell.config.data.train for cell in cells] == [f"{tmp_path}/train_{seed}.jsonl" for seed in (0, 0, 1, 1)]
    assert (
        len({cell.rows_hash for cell in cells}) == len({cell.key for cell in cells}) == 4
    )  # rationales are hashed too
    assert all(f"case of {cell.config.seed}" in cache.rows(cell.config).train[0].input_text for cell in cells)


def conditions(**more: object) -> Request:
    base = with_defaults(STUDY, load_config(overrides=["training.num_epochs=2", "model.dropout=0.3"]))
    given = {
        "tasks": find_conditions(STUDY, base, None),
        "num_seeds": None,
        "arms": STUDY.arms,
    } | more
    return Request(study=STUDY, base=base, backbones=("x",), **given)  # type: ignore[arg-type]


def test_a_study_brings_its_own_tasks_seeds_and_settings() -> None:
    request = conditions()
    asked = [(task, seed, arm.name) for _, task, seed, arm in planned(request)]
    assert asked == [
        *(("few", seed, arm) for seed in range(3) for arm in ("pooled", "dhrd")),
        *(("many", seed, "dhrd") for seed in range(5)),
    ]
    assert len(list(planned(conditions(num_seeds=1)))) == 2 + 1
    check_data(request)
    config = cell_config(request, "few", "x", POOLED, 2)
    assert (config.data.train, config.data.validation) == ("few_2.jsonl", "v.jsonl")
    assert config.training.learning_rate == 1e-3  # the study's
    assert config.model.dropout == 0.3  # the user's, over the study's
    assert config.training.num_epochs == 2  # the user's, over the condition's


def test_rows_of_ones_own_take_the_place_of_a_studys_and_may_differ_by_seed_too() -> None:
    request = conditions()
    request = replace(request, base=load_config(base=request.base, data__train="own_{seed}.jsonl"))
    assert cell_config(request, "few", "x", POOLED, 2).data.train == "own_2.jsonl"


def test_a_grid_chooses_nothing_that_makes_an_arm_what_it_is(tiny_backbone: Path, tmp_path: Path) -> None:
    """The pooled baseline with a reasoning weight would be DHRD itself."""
    grid = {"loss.reasoning_weight": (0.5, 1.0), "training.learning_rate": (1e-4, 1e-3)}
    request = make_request(tiny_backbone, tmp_path, grid=grid)
    assert request.grid_of(POOLED) == {"training.learning_rate": (1e-4, 1e-3)}
    assert request.grid_of(DHRD) == grid


@pytest.mark.parametrize("name", ["pooled", "lm_on_x"])
def test_controls_learn_from_no_rationale_whatever_losses_are_given(
    tiny_backbone: Path, tmp_path: Path, name: str
) -> None:
    losses = ("loss.keyword_weight=1", "loss.privileged_weight=1")
    arms = (name, "dhrd")
    plain = make_request(tiny_backbone, tmp_path, study="reasoning", arms=arms)
    given = make_request(tiny_backbone, tmp_path, *losses, study="reasoning", arms=arms)
    before, after = (
        {cell.arm.name: cell for cell in final_cells(request, Cache("cpu"), {})} for request in (plain, given)
    )
    assert after[name].key == before[name].key
    assert after["dhrd"].key != before["dhrd"].key
    reads = after[name].config.loss
    assert (reads.keyword_weight, reads.privileged_weight) == (0, 0)


def test_rows_whose_labels_differ_by_seed_are_refused_before_anything_is_run(
    tiny_backbone: Path, tmp_path: Path
) -> None:
    request = make_request(tiny_backbone, tmp_path, num_seeds=3)
    train = (tmp_path / "train.jsonl").read_text()
    for seed in range(3):
        (tmp_path / f"train_{seed}.jsonl").write_text(train)
    with (tmp_path / "train_2.jsonl").open("a") as file:
        file.write('{"id": "x", "input_text": "one more", "label": "another", "rationale": "so"}\n')
    base = load_config(base=request.base, data__train=f"{tmp_path}/train_{{seed}}.jsonl")
    with pytest.raises(ConfigError, match=r"the labels of seed 2 are another, .*, those of seed 0 .*; give all"):
        final_cells(replace(request, base=base, tasks=find_tasks(base, None)), Cache("cpu"), {})
