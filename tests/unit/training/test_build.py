"""One composition of a run: its parts fit each other, and the same call gives the same run."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from dhrd.data.rows import load_rows
from dhrd.errors import CheckpointError, ConfigError, ModelError
from dhrd.model.backbone import load_backbone
from dhrd.training.build import Parts, build, resume, run_identity
from dhrd.training.checkpoints import Checkpoints
from dhrd.training.position import Position
from helpers.runs import make_config


def parts_of(backbone: Path, directory: Path, *overrides: str) -> Parts:
    config = make_config(backbone, directory, "training.batch_size=4", *overrides)
    return build(config, load_rows(config), load_backbone(config.model), "cpu")


def test_parts_are_of_one_run(tiny_backbone: Path, tmp_path: Path) -> None:
    parts = parts_of(tiny_backbone, tmp_path)
    assert parts.model is parts.state.model and parts.accelerator is parts.state.accelerator
    assert parts.updates.updates_per_epoch == 5
    assert parts.state.num_updates == 10
    assert [len(part) for part in (parts.data.train, parts.data.choose, parts.data.validation)] == [20, 9, 9]
    assert parts.model.num_labels == 3
    assert any(e.continuation_ids for e in parts.data.train.examples)
    assert not any(e.continuation_ids for e in parts.data.validation.examples)


@pytest.mark.parametrize("dev_share", [0, 0.3])
def test_choices_are_on_rows_of_their_own_where_some_were_cut_off(
    tiny_backbone: Path, tmp_path: Path, dev_share: float
) -> None:
    parts = parts_of(tiny_backbone, tmp_path, f"data.dev_share={dev_share}")
    assert parts.rows.has_dev == bool(dev_share)
    assert (parts.data.choose is parts.data.validation) == (not dev_share)
    assert len(parts.data.train) + len(parts.data.choose) * bool(dev_share) == 20


def test_a_run_begins_seeded_whatever_was_drawn_before(tiny_backbone: Path, tmp_path: Path) -> None:
    draws = []
    for number in range(2):
        torch.manual_seed(number)
        parts = parts_of(tiny_backbone, tmp_path, "seed=7")
        draws.append((torch.rand(3), parts.model.head.score.weight.clone()))
    assert torch.equal(draws[0][0], draws[1][0]) and torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][0], torch.rand(3))


def test_tokens_that_are_known_are_not_made_again(tiny_backbone: Path, tmp_path: Path) -> None:
    first = parts_of(tiny_backbone, tmp_path)
    again = build(first.config, first.rows, load_backbone(first.config.model), "cpu", data=first.data)
    assert again.data is first.data


def test_what_must_be_equal_to_go_on(tiny_backbone: Path, tmp_path: Path) -> None:
    one = run_identity(parts_of(tiny_backbone, tmp_path))
    assert one == run_identity(parts_of(tiny_backbone, tmp_path, f"output_dir={tmp_path / 'elsewhere'}"))
    other = run_identity(parts_of(tiny_backbone, tmp_path, "data.train_limit=8"))
    assert {name for name in one if one[name] != other[name]} == {"config", "rows"}
    assert (one["processes"], one["precision"], one["labels"]) == (1, "no", ["keep", "repair", "return"])


@pytest.mark.parametrize("prefix", ["", "scratch:"])
def test_another_config_of_the_backbone_is_another_run(tiny_backbone: Path, tmp_path: Path, prefix: str) -> None:
    """Its path stays, and no tensor tells."""
    backbone = Path(shutil.copytree(tiny_backbone, tmp_path / "backbone"))
    place, path = f"model.name_or_path={prefix}{backbone / ('config.json' if prefix else '')}", backbone / "config.json"
    one = run_identity(parts_of(backbone, tmp_path, place))
    given = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(given | {"transformers_version": "9", "use_cache": True}), encoding="utf-8")
    assert run_identity(parts_of(backbone, tmp_path, place)) == one
    path.write_text(json.dumps(given | {"hidden_act": "relu"}), encoding="utf-8")
    parts = parts_of(backbone, tmp_path, place)
    saved = Checkpoints(tmp_path / "checkpoints", one)
    saved.save(parts.state, Position(step=6, epoch=1, update=1))
    with pytest.raises(CheckpointError, match=r"not as they were: backbone's config: '[0-9a-f]+' in the"):
        resume(parts, Checkpoints(saved.directory, run_identity(parts)), saved.directory / "step-00000006")
    one.pop("backbone's config")  # a checkpoint of an earlier version
    saved.save(parts.state, Position(step=6, epoch=1, update=1))
    assert resume(parts, Checkpoints(saved.directory, run_identity(parts)), saved.directory / "step-00000006").step == 6


def test_a_checkpoint_is_gone_on_from_where_a_run_can_stand(
    tiny_backbone: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = parts_of(tiny_backbone, tmp_path)
    checkpoints = Checkpoints(tmp_path / "checkpoints", run_identity(parts))
    checkpoints.save(parts.state, Position(step=6, epoch=1, update=1))
    with caplog.at_level(logging.WARNING, "dhrd"):
        assert resume(parts, checkpoints, tmp_path / "checkpoints/step-00000006").step == 6
    assert "resuming after step 6" in caplog.text
    checkpoints.save(parts.state, Position(step=7, epoch=1, update=1))
    with pytest.raises(CheckpointError, match="step 7, epoch 1, update 1 is not a position of this run's 10 updates"):
        resume(parts, checkpoints, tmp_path / "checkpoints/step-00000007")


def test_class_weights(tiny_backbone: Path, tmp_path: Path) -> None:
    balanced = (
        parts_of(tiny_backbone, tmp_path, "loss.class_weights=balanced")
        .model.terms["classification"]
        .label_loss.class_weight_C
    )
    assert balanced is not None
    counts = [6, 7, 7]  # keep, repair and return among 20 rows that take turns
    assert sorted(balanced.tolist(), reverse=True) == pytest.approx([20 / (3 * count) for count in counts])
    given = "loss.class_weights={keep: 2, return: 1, repair: 3}"
    weights = parts_of(tiny_backbone, tmp_path, given).model.terms["classification"].label_loss.class_weight_C
    assert weights is not None and weights.tolist() == [2, 3, 1]
    with pytest.raises(ConfigError, match=r"loss\.class_weights: give one weight for each of"):
        parts_of(tiny_backbone, tmp_path, "loss.class_weights={keep: 2, stay: 1}")


def test_sequences_longer_than_the_context_are_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="1024"):
        parts_of(tiny_backbone, tmp_path, "data.max_sequence_tokens=2000")
