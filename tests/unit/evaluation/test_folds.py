"""Out of fold: each row is read by a model that did not see it, and what is done stays done."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from dhrd.config import load_config
from dhrd.data.rows import load_rows
from dhrd.data.split import split_fold
from dhrd.evaluation import folds
from dhrd.evaluation.folds import out_of_fold
from dhrd.evaluation.live import LiveModel
from dhrd.model.backbone import load_backbone
from dhrd.training.build import build
from dhrd.training.loop import fit
from helpers.runs import make_config


def test_each_row_is_read_by_the_model_of_the_other_folds(tiny_backbone: Path, tmp_path: Path) -> None:
    config = make_config(tiny_backbone, tmp_path)
    rows = load_rows(config)
    probabilities_NC = out_of_fold(config, rows, num_folds=3, kept=tmp_path, device="cpu")
    assert np.allclose(probabilities_NC.sum(axis=1), 1)
    for fold in range(3):
        train, held_out = split_fold(rows.train, fold, 3, seed=config.seed)
        assert not {example.id for example in train} & {example.id for example in held_out}
        of_fold = replace(rows, train=train, choose=held_out, validation=held_out)
        parts = build(config, of_fold, load_backbone(config.model), "cpu")
        fit(parts.state, parts.updates)
        outcomes = LiveModel.of(parts.model).predict(parts.data.validation.examples, rows.labels)
        own = [[example.id for example in rows.train].index(row_id) for row_id in outcomes.ids]
        assert outcomes.probabilities_BC is not None
        np.testing.assert_allclose(probabilities_NC[own], outcomes.probabilities_BC, atol=1e-6)


def test_what_a_kill_leaves_is_gone_on_with(
    tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(tiny_backbone, tmp_path)
    rows = load_rows(config)
    whole = out_of_fold(config, rows, num_folds=3, kept=_empty(tmp_path / "whole"), device="cpu")
    kept, trained = _empty(tmp_path / "kept"), []
    real = folds._train

    def dies_in_the_second(*arguments: object) -> np.ndarray:
        trained.append(1)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(folds, "_train", dies_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        out_of_fold(config, rows, num_folds=3, kept=kept, device="cpu")
    assert len(list(kept.iterdir())) == 1
    assert np.array_equal(out_of_fold(config, rows, num_folds=3, kept=kept, device="cpu"), whole)
    assert len(trained) == 4, "the first fold was not trained again"
    other = make_config(tiny_backbone, tmp_path, "training.learning_rate=1e-3")
    out_of_fold(other, rows, num_folds=3, kept=kept, device="cpu")
    assert len(trained) == 7, "other settings, other folds"


def test_folds_of_other_weights_at_the_same_place_are_not_taken(tiny_backbone: Path, tmp_path: Path) -> None:
    """A backbone that was trained further, and saved where it was."""
    backbone = Path(shutil.copytree(tiny_backbone, tmp_path / "backbone"))
    config = make_config(backbone, tmp_path)
    rows, kept = load_rows(config), _empty(tmp_path / "kept")
    before = out_of_fold(config, rows, num_folds=2, kept=kept, device="cpu")
    assert np.array_equal(out_of_fold(config, rows, num_folds=2, kept=kept, device="cpu"), before)
    weights = load_file(backbone / "model.safetensors")
    save_file({name: -tensor for name, tensor in weights.items()}, backbone / "model.safetensors", {"format": "pt"})
    after = out_of_fold(config, rows, num_folds=2, kept=kept, device="cpu")
    fresh = out_of_fold(config, rows, num_folds=2, kept=_empty(tmp_path / "fresh"), device="cpu")
    assert np.array_equal(after, fresh) and not np.allclose(after, before)


def _empty(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_a_backbone_in_one_file_is_known_by_its_content(tmp_path: Path) -> None:
    data = SimpleNamespace(train=SimpleNamespace(examples=[]), validation=SimpleNamespace(examples=[]))
    path = tmp_path / "model [Q4].gguf"
    config = load_config(model__name_or_path=str(path))
    keys = []
    for content in (b"one", b"one", b"two"):
        path.write_bytes(content)
        keys.append(folds._key(config, data))  # type: ignore[arg-type]
    assert keys[0] == keys[1] != keys[2]


def test_a_backbone_that_is_drawn_is_known_by_its_config(tmp_path: Path) -> None:
    data = SimpleNamespace(train=SimpleNamespace(examples=[]), validation=SimpleNamespace(examples=[]))
    path = tmp_path / "config.json"
    config = load_config(model__name_or_path=f"scratch:{path}")
    keys = []
    for activation in ("silu", "silu", "relu"):
        path.write_text(f'{{"hidden_act": "{activation}"}}', encoding="utf-8")
        keys.append(folds._key(config, data))  # type: ignore[arg-type]
    assert keys[0] == keys[1] != keys[2]
