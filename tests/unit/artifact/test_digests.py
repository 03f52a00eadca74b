"""Files and label names of two trainings in one artifact are told, whatever their shapes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dhrd.artifact.digests import PARTS, backbone_file_digests, file_digests
from dhrd.artifact.info import ArtifactInfo, read_info
from dhrd.artifact.read import load_reasoning_model
from dhrd.artifact.write import kind_of, save_artifact, write_decision
from dhrd.decisions.decision import Decision
from dhrd.errors import ArtifactError
from dhrd.inference.classifier import Classifier
from dhrd.training.kept_head import keep_head
from helpers.artifacts import LABELS, change, perturb, unbind
from helpers.models import make_backbone, make_model
from helpers.rows import make_tokenizer


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two artifacts of the same shapes, with every kind of file that weights are in."""
    paths: list[Path] = []
    for name in ("one", "other"):
        backbone = make_backbone("qwen2", tokenizer=make_tokenizer(chat=True), num_hidden_layers=1)
        model = make_model("qwen2", backbone=backbone, num_labels=len(LABELS), head="mlp")
        torch.manual_seed(len(paths))
        perturb(model)
        paths.append(tmp_path_factory.mktemp("digests") / name)
        save_artifact(paths[-1], model, ArtifactInfo(kind=kind_of(model), labels=LABELS, head="mlp"))
    return paths[0], paths[1]


@pytest.fixture
def copy(trainings: tuple[Path, Path], tmp_path: Path) -> Path:
    return shutil.copytree(trainings[0], tmp_path / "artifact")


def load(directory: Path) -> Classifier:
    return Classifier.from_pretrained(directory, device="cpu", dtype=None)


@pytest.mark.parametrize("name", ["model.safetensors", "head.safetensors", "reasoning_head.safetensors"])
def test_weights_of_another_training_are_refused(trainings: tuple[Path, Path], copy: Path, name: str) -> None:
    shutil.copy(trainings[1] / name, copy / name)
    reader = load_reasoning_model if name.startswith("reasoning") else load
    with pytest.raises(ArtifactError, match=rf"{name} does not belong to dhrd\.json .*copy the artifact again") as told:
        reader(copy)
    assert str(copy) in str(told.value)
    unbind(copy)
    reader(copy)


def reverse_ids(copy: Path) -> None:
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = dict(zip(vocab, reversed(vocab.values()), strict=True))
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))


def add_a_template(copy: Path) -> None:
    (copy / "chat_template.jinja").write_text("{{ messages[0].content }}!")


def other_positions(copy: Path) -> None:
    change(copy / "config.json", rope_parameters={"rope_type": "default", "rope_theta": 7.0})


CHANGES: dict[str, Callable[[Path], None]] = {
    "tokenizer.json": reverse_ids,
    "chat_template.jinja": add_a_template,
    "config.json": other_positions,
}


@pytest.mark.parametrize(("name", "act"), CHANGES.items(), ids=CHANGES)
def test_what_the_weights_were_not_trained_with_is_refused_until_it_is_meant(
    copy: Path, name: str, act: Callable[[Path], None]
) -> None:
    act(copy)
    with pytest.raises(ArtifactError, match=rf'{name} does not belong .*on purpose, remove "digests" from dhrd\.json'):
        load(copy)
    unbind(copy)
    load(copy)


def test_label_names_in_another_order_are_refused_until_they_are_meant(copy: Path) -> None:
    """An `mlp` head has no label names in config.json that would tell."""
    labels = json.loads((copy / "dhrd.json").read_text())["labels"]
    change(copy / "dhrd.json", labels=labels | {"names": labels["names"][::-1]})
    with pytest.raises(ArtifactError, match=r'dhrd\.json: the label names, or their order.* remove "digests"'):
        load(copy)
    unbind(copy)
    assert load(copy).labels.names == LABELS.names[::-1]


def test_a_file_that_is_gone_is_named(copy: Path) -> None:
    (copy / "tokenizer_config.json").unlink()
    with pytest.raises(ArtifactError, match=r"tokenizer_config\.json is missing"):
        load(copy)


def test_training_on_from_a_mixed_artifact_is_refused(trainings: tuple[Path, Path], copy: Path) -> None:
    model = make_model("qwen2", num_labels=len(LABELS), head="mlp")
    keep_head(model, LABELS, copy)
    reverse_ids(copy)
    with pytest.raises(ArtifactError, match=r"tokenizer\.json does not belong"):
        keep_head(model, LABELS, copy)


def test_a_decision_a_card_and_decoding_are_no_part(copy: Path) -> None:
    """What dhrd and people change in an artifact that is there leaves it whole."""
    write_decision(copy, Decision(rules=(), num_rows=9, fingerprint="f"))
    (copy / "README.md").write_text("another card")
    (copy / "run.json").unlink()
    (copy / "generation_config.json").write_text("{}")
    assert load(copy).info.decision is not None
    load_reasoning_model(copy)
    write_decision(copy, None)
    assert read_info(copy) == load(copy).info


def test_every_tensor_counts_and_its_end_too(tmp_path: Path) -> None:
    """One that a training changed alone, as a head on a frozen backbone, and what a copy left out."""
    path = tmp_path / "model.safetensors"
    state = {f"layers.{i}.weight": torch.zeros(100_000) for i in range(3)} | {"score.weight": torch.zeros(2, 8)}
    seen = set()
    for name in ("none", *state):
        for place in (0, -1):
            changed = {key: tensor.clone() for key, tensor in state.items()}
            if name != "none":
                changed[name].view(-1)[place] = 1
            save_file(changed, path)
            assert load_file(path).keys() == state.keys()
            seen.add(file_digests(tmp_path, PARTS)["model.safetensors"])
    assert len(seen) == 1 + 2 * len(state)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    for content in (b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0[]", b'\x0c\0\0\0\0\0\0\0{"a": {"b":1'):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(ArtifactError, match=r"model\.safetensors: damaged"):
            file_digests(tmp_path, PARTS)


def test_of_a_backbone_the_files_that_lie_here(tmp_path: Path) -> None:
    assert backbone_file_digests("org/name") == backbone_file_digests("package:pkg/model.gguf") == {}
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.gguf").write_bytes(b"weights")
    (tmp_path / "notes.txt").write_text("not read")
    assert [*backbone_file_digests(str(tmp_path))] == ["config.json"]
    assert [*backbone_file_digests(f"scratch:{tmp_path}/config.json")] == ["config.json"]
    (tmp_path / "tokenizer.json").write_text("{}")  # read next to the config, so it decides the tokens
    assert [*backbone_file_digests(f"scratch:{tmp_path}/config.json")] == ["config.json", "tokenizer.json"]
    before = backbone_file_digests(str(tmp_path / "model.gguf"))
    (tmp_path / "model.gguf").write_bytes(b"others!")
    assert [*before] == ["model.gguf"] and backbone_file_digests(str(tmp_path / "model.gguf")) != before
