"""A cell's key: what decides its numbers and nothing else; and the files that finished cells are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dhrd.config import load_config, resolve
from dhrd.config.retired import without_retired
from dhrd.data.records import Example
from dhrd.data.rows import load_rows
from dhrd.experiments.agenda import Entry
from dhrd.experiments.cache import Cache
from dhrd.experiments.cell_result import read_cell
from dhrd.experiments.cells import Cell, CellDecoding, CellStore, _row, decisive_settings, hash_rows, unfinished
from dhrd.experiments.schedule import look_at
from dhrd.experiments.study import DHRD, POOLED, STUDENT
from helpers.experiments import cell_result
from helpers.rows import write_jsonl
from helpers.runs import make_config, rows, settings, write_rows

CONFIG = load_config(overrides=["model.name_or_path=some/Model-1B", "data.train=a.jsonl"])


CELL = Cell(task="mail", arm=DHRD, config=CONFIG, rows_hash="r0")


def with_settings(*overrides: str) -> Cell:
    return replace(CELL, config=load_config(overrides=list(overrides), base=CONFIG))


@pytest.mark.parametrize(
    "override", ["training.learning_rate=1e-3", "seed=1", "model.dropout=0.2", "data.input_template=x {{ input_text }}"]
)
def test_settings_decide(override: str) -> None:
    assert with_settings(override).key != CELL.key


@pytest.mark.parametrize(
    "override",
    ["output_dir=elsewhere", "tracking.run_name=x", "teacher.max_tokens=9", "data.train=/other/place/a.jsonl"],
)
def test_places_do_not(override: str) -> None:
    assert with_settings(override).key == CELL.key


@pytest.mark.parametrize("override", ["compile=true", "max_tokens_per_micro_batch=2048", "gradient_checkpointing=true"])
def test_how_a_machine_runs_an_update_does_not_decide_and_is_kept(override: str, tmp_path: Path) -> None:
    cell = with_settings(f"training.{override}")
    assert cell.key == CELL.key
    name, _, value = override.partition("=")
    kept = json.loads(CellStore(tmp_path).save(cell, cell_result(accuracy=1.0)).read_text())
    assert kept["config"]["training"][name] == json.loads(value)


def test_weights_and_groups_decide() -> None:
    assert replace(CELL, weights_hash="w1").key != replace(CELL, weights_hash="w2").key != CELL.key
    example = Example(input_text="a", label=0, id="r0")
    rows = [_row(replace(example, group=group), frozenset(), with_rationale=True) for group in (None, "a", "b")]
    assert len(set(rows)) == 3


def test_a_cell_of_a_choice_that_diverged_is_settled(tmp_path: Path) -> None:
    store, judge = CellStore(tmp_path), replace(CELL, fold=(0, 5))
    assert not store.settled(judge)
    store.save_diverged(judge, "step 3: loss is nan")
    assert (store.settled(judge), store.has(judge), store.find(judge)) == (True, False, None)
    assert store.diverged(judge) == "step 3: loss is nan"
    assert store.diverged(CELL) is None
    shared = replace(judge, arm=replace(judge.arm, name="another", title="of the same settings"))
    assert store.settled(shared) and store.diverged(shared) == "step 3: loss is nan"


def test_a_setting_given_as_its_default_is_no_other_cell() -> None:
    assert with_settings("training.batch_size=8").key == CELL.key
    assert "training.batch_size" not in decisive_settings(with_settings("training.batch_size=8").config)


def test_committed_cells_still_have_their_keys(repository: Path) -> None:
    """Settings that later versions add orphan no result: a file's key is found again from its settings."""
    paths = sorted((repository / "docs/results").glob("*/cells/*.json"))
    num_known = 0
    for path in paths:
        found = json.loads(path.read_text())
        assert found.get("diverged") or read_cell(path).metrics["accuracy"] > 0
        if without_retired(found["config"])[1]:
            continue  # it used what is no more: the evidence stays, the arm does not
        num_known += 1
        arm = replace(
            DHRD,
            name=found["arm"],
            read=found["read"],
            encoder=found.get("encoder"),
            trained=found["trained"],
            speed=bool(found["speed"]),
        )
        cell = Cell(
            task=found["task"],
            arm=arm,
            config=resolve(found["config"]),
            rows_hash=found["rows"],
            decoding=CellDecoding(**found["decoding"] or {}),
            fold=tuple(found["fold"]) if found["fold"] else None,
        )
        assert (cell.key, cell.file_name) == (found["key"], path.name.replace(".diverged", ""))
    assert num_known >= 300


def test_the_plan_still_finds_its_committed_cells(repository: Path) -> None:
    """The generator writes the rows of those cells again, and what it writes beside them orphans none."""
    conditions = ["rows100-hops2-noise0", "rows100-hops2-noise25"]
    entry = Entry(name="some", study="controlled", output=str(repository / "docs/results/controlled"), tasks=conditions)
    (work,) = look_at([entry], repository, Cache("cpu")).works
    committed = [path for one in conditions for path in work.request.store.directory.glob(f"{one}-*.json")]
    assert work.num_done == len(committed) >= 12


def test_a_cells_file_says_nothing_of_where_its_rows_lay(tmp_path: Path) -> None:
    cell = with_settings("data.superglue_root=/a/place", "data.train_limit=5")
    saved = json.loads(CellStore(tmp_path).save(cell, cell_result()).read_text())
    assert "/a/place" not in json.dumps(saved)
    assert saved["config"]["data"]["train_limit"] == 5
    assert replace(cell, config=resolve(saved["config"])).key == cell.key


def test_rows_fold_and_reading_decide() -> None:
    other = [
        replace(CELL, rows_hash="r1"),
        replace(CELL, fold=(0, 5)),
        replace(CELL, fold=(1, 5)),
        replace(CELL, arm=replace(DHRD, read="decode")),
        replace(CELL, arm=replace(DHRD, trained=False, read="decode")),
        replace(CELL, arm=replace(DHRD, speed=True)),
    ]
    assert len({cell.key for cell in [CELL, *other]}) == 7


def test_an_arms_name_does_not_decide_so_that_studies_share_cells() -> None:
    assert replace(CELL, arm=replace(DHRD, name="aligned", title="DHRD, aligned")).key == CELL.key


def test_decoding_decides_only_where_answers_are_decoded() -> None:
    short = CellDecoding(max_new_tokens=5)
    assert replace(CELL, decoding=short).key == CELL.key
    student = replace(CELL, arm=STUDENT)
    assert replace(student, decoding=short).key != student.key


def test_cells_that_were_limited_to_other_rows_for_each_seed_are_not_found() -> None:
    student = replace(CELL, arm=STUDENT)
    assert student.key == "f98977a16b45"  # as it always was
    limited = replace(student, decoding=CellDecoding(limit=6))
    assert limited.key not in (student.key, "e284737cc9a8")  # the second of the earlier draw
    assert replace(CELL, decoding=CellDecoding(limit=6)).key == CELL.key


def test_without_training_its_settings_decide_nothing() -> None:
    untrained = replace(CELL, arm=replace(STUDENT, trained=False))
    other = replace(untrained, config=with_settings("training.num_epochs=9", "loss.reasoning_weight=0.5").config)
    assert untrained.key == other.key


def test_the_rows_hash_sees_texts_labels_and_order(tiny_backbone: Path, tmp_path: Path) -> None:
    config = make_config(tiny_backbone, tmp_path)
    first = hash_rows(load_rows(config), config)
    assert hash_rows(load_rows(config), config) == first
    changed = rows(20)
    for change in ({"input_text": "other"}, {"label": "return"}, {"rationale": "another one"}):
        write_jsonl(tmp_path / "train.jsonl", [{**changed[0], **change}, *changed[1:]])
        assert hash_rows(load_rows(config), config) != first
    write_jsonl(tmp_path / "train.jsonl", changed[::-1])
    assert hash_rows(load_rows(config), config) != first


def test_a_column_that_the_template_does_not_read_decides_nothing(tiny_backbone: Path, tmp_path: Path) -> None:
    for template, decides in (("{{ input_text }}", False), ("{{ input_text }} {{ by }}", True), ("{{ row }}", True)):
        config = make_config(tiny_backbone, tmp_path, f"data.input_template={template}")
        hashes = set()
        for by in ("Ann", "Ben"):
            write_jsonl(tmp_path / "train.jsonl", [{**row, "by": by} for row in rows(20)])
            write_jsonl(tmp_path / "validation.jsonl", [{**row, "by": "Cleo"} for row in rows(6)])
            hashes.add(hash_rows(load_rows(config), config))
        assert (len(hashes) == 2) == decides, template


def test_rationales_do_not_decide_where_nothing_is_learned_from_them(tiny_backbone: Path, tmp_path: Path) -> None:
    write_rows(tmp_path)
    config = load_config(overrides=settings(tiny_backbone, tmp_path, "loss.reasoning_weight=0"))
    first = hash_rows(load_rows(config), config)
    write_jsonl(tmp_path / "train.jsonl", [{**row, "rationale": "another"} for row in rows(20)])
    assert hash_rows(load_rows(config), config) == first


def test_a_saved_cell_is_found_by_its_key_whatever_its_name(tmp_path: Path) -> None:
    store = CellStore(tmp_path / "cells")
    assert store.find(CELL) is None
    path = store.save(CELL, cell_result(accuracy=0.5))
    assert path.name.startswith("mail-Model-1B-dhrd-seed0-")
    renamed = replace(CELL, arm=replace(DHRD, name="aligned"))
    found = store.find(renamed)
    assert found is not None
    assert found.metrics == {"accuracy": 0.5}
    assert json.loads(path.read_text())["config"]["model"]["name_or_path"] == "some/Model-1B"
    assert not list(store.directory.glob(".*"))


def test_cells_merge_by_copying_files(tmp_path: Path) -> None:
    here, there = CellStore(tmp_path / "here"), CellStore(tmp_path / "there")
    here.save(CELL, cell_result())
    other = replace(CELL, arm=POOLED, config=with_settings("loss.reasoning_weight=0").config)
    path = there.save(other, cell_result())
    (here.directory / path.name).write_bytes(path.read_bytes())
    assert list(unfinished([CELL, other], here)) == []
    assert list(unfinished([CELL, other], there)) == [CELL]


def test_a_cell_that_two_arms_share_is_run_once(tmp_path: Path) -> None:
    assert list(unfinished([CELL, CELL], CellStore(tmp_path))) == [CELL]
