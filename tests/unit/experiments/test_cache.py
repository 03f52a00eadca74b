"""What a process keeps changes no result."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dhrd.data.digest import fingerprint
from dhrd.data.rows import load_rows
from dhrd.errors import DataError
from dhrd.experiments.cache import Cache
from dhrd.experiments.cells import hash_rows
from dhrd.experiments.plan import final_cells
from dhrd.experiments.run_cell import run_cell
from helpers.experiments import cells, make_request


def test_a_cache_gives_what_a_fresh_one_gives(tiny_backbone: Path, tmp_path: Path) -> None:
    """A cell must not see what an earlier one did to the backbone."""
    request = make_request(tiny_backbone, tmp_path, "training.learning_rate=1e-2", num_seeds=2)
    shared = Cache("cpu")
    for one in cells(request):
        ours, fresh = (run_cell(one, cache).model_dump() for cache in (shared, Cache("cpu")))
        assert ours["outcomes"] == fresh["outcomes"]
        assert ours["curve"] == fresh["curve"]


def test_other_weights_at_the_same_place_are_other_cells(tiny_backbone: Path, tmp_path: Path) -> None:
    place = shutil.copytree(tiny_backbone, tmp_path / "backbone")
    request = make_request(place, tmp_path)
    before = cells(request)
    assert [one.key for one in cells(request)] == [one.key for one in before]
    weights = load_file(place / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, place / "model.safetensors", {"format": "pt"})
    assert not {one.key for one in cells(request)} & {one.key for one in before}


def test_rows_that_change_under_way_are_not_saved_as_the_old(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path)
    (planned, *_), path = cells(request), tmp_path / "validation.jsonl"
    path.write_text(path.read_text().replace('"input_text": "', '"input_text": "not ', 1))
    with pytest.raises(DataError, match="the rows changed since the study began"):
        run_cell(planned, Cache("cpu"))


def test_shares_of_rows_and_of_rationales(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, study="data_scale", num_train=40)
    cache = Cache("cpu")
    found = {one.arm.name: cache.rows(one.config) for one in cells(request)}
    ids = {name: {example.id for example in rows.train} for name, rows in found.items()}
    assert len(ids["dhrd_25"]) == pytest.approx(10, abs=1)
    assert ids["dhrd_25"] == ids["pooled_25"] < ids["dhrd_50"] < ids["dhrd_100"]
    reasoned = {name: {e.id for e in rows.train if e.rationale} for name, rows in found.items()}
    whole = len(reasoned["dhrd_100"])
    assert len(reasoned["dhrd_rationales_25"]) == round(0.25 * whole)
    assert reasoned["dhrd_rationales_25"] < reasoned["dhrd_rationales_50"] < reasoned["dhrd_100"]
    assert ids["dhrd_rationales_25"] == ids["dhrd_100"]


def test_a_drawn_backbone_is_the_seeds_and_the_same_in_both_arms(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, num_seeds=2)
    request = replace(request, backbones=(f"scratch:{tiny_backbone / 'config.json'}",))
    cache = Cache("cpu")
    drawn = {
        (cell.config.seed, cell.arm.name): cache.backbone(cell.config).model.lm_head.weight
        for cell in final_cells(request, cache, {})
    }
    assert torch.equal(drawn[0, "pooled"], drawn[0, "dhrd"])
    assert torch.equal(drawn[1, "pooled"], drawn[1, "dhrd"])
    assert not torch.equal(drawn[0, "pooled"], drawn[1, "pooled"])


def test_arms_that_differ_in_losses_and_tokens_share_their_rows(tiny_backbone: Path, tmp_path: Path) -> None:
    request = make_request(tiny_backbone, tmp_path, study="ablation", num_train=20)
    cache = Cache("cpu")
    arms = {cell.arm.name: cell for cell in cells(request)}
    assert cache.rows(arms["pooled"].config) is cache.rows(arms["shuffled"].config)
    encoded = [cache.encoded(arms[name], cache.rows(arms[name].config)) for name in ("dhrd", "shuffled", "label_only")]
    hashes = {fingerprint(each.train.examples) for each in encoded}
    assert len(hashes) == len(encoded)


def test_the_hash_of_rows_is_told_by_what_a_loss_reads(tiny_backbone: Path, tmp_path: Path) -> None:
    cache = Cache("cpu")
    pooled, dhrd = (cell.config for cell in cells(make_request(tiny_backbone, tmp_path)))
    for config in (pooled, dhrd):
        assert cache.rows_hash(config) == hash_rows(load_rows(config), config) == cache.rows_hash(config)
    assert cache.rows_hash(pooled) != cache.rows_hash(dhrd)


def test_rows_without_a_rationale_are_refused_to_the_arm_that_needs_one(tiny_backbone: Path, tmp_path: Path) -> None:
    pooled, dhrd = (cell.config for cell in cells(make_request(tiny_backbone, tmp_path)))
    rows = [{**json.loads(line), "rationale": None} for line in Path(str(dhrd.data.train)).read_text().splitlines()]
    Path(str(dhrd.data.train)).write_text("".join(json.dumps(row) + "\n" for row in rows))
    cache = Cache("cpu")
    assert cache.rows(pooled).train
    with pytest.raises(DataError, match="no training row has a rationale"):
        cache.rows(dhrd)
