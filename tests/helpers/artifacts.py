"""Artifacts of a few thousand random weights, to be damaged and given to `dhrd predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.write import kind_of, save_artifact
from dhrd.config import LossSettings
from dhrd.data.label_space import LabelSpace
from dhrd.data.records import LabelSet
from dhrd.model.dual_head import DualHeadModel
from helpers.models import make_backbone, make_model
from helpers.rows import make_tokenizer, write_jsonl
from helpers.runs import Ended, run_here

LABELS = LabelSet(("bill", "login", "mail"))
TASKS = LabelSpace.of({"what": LABELS, "tags": LabelSet(("even", "odd"), multi_label=True)})
"""Two tasks, one of them of any number of labels."""
LORA: dict[str, Any] = {"lora": {"r": 4}}
"""Of `make_model`: low-rank adapters."""


def save_tiny(
    directory: Path,
    family: str = "llama",
    *,
    layers: int = 1,
    reasons: bool = False,
    labels: LabelSet = LABELS,
    **model: Any,
) -> Path:
    """Write an artifact as training does.

    Args:
        directory: Where to.
        family: Of `helpers.models.FAMILIES`.
        layers: Of the backbone.
        reasons: No classifier, a reasoning head alone.
        labels: Of one task, or of several.
        **model: As `make_model`'s.
    """
    tokenizer = make_tokenizer(chat=True)
    backbone = make_backbone(family, tokenizer=tokenizer, num_hidden_layers=layers)
    loss = LossSettings(classification_weight=0.0 if reasons else 0.5)
    made = make_model(family, backbone=backbone, loss=loss, num_labels=len(labels), **model)
    info = ArtifactInfo(
        kind=kind_of(made),
        labels=labels,
        max_input_tokens=64,
        max_sequence_tokens=128,
        head=made.settings.head,
        pooling=made.settings.pooling,
    )
    save_artifact(directory, made, info, card="#", run={})
    (directory / "run.json").unlink()  # it would be the config of a run
    unbind(directory)
    write_jsonl(directory.with_suffix(".jsonl"), [{"input_text": f"case {i}", "label": "bill"} for i in range(3)])
    return directory


def unbind(directory: Path) -> None:
    """Let files be changed, as by a stranger whose digests would fit what he made of them."""
    manifest = json.loads((directory / "dhrd.json").read_text())
    manifest.pop("digests", None)
    (directory / "dhrd.json").write_text(json.dumps(manifest))


def change(path: Path, **fields: Any) -> None:
    """Set fields of a JSON object in a file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def predict(capsys: Any, directory: Path, rows: Path) -> Ended:
    """`dhrd predict` with an artifact in this process, each time to a new file."""
    output = directory.with_suffix(".out.jsonl")
    output.unlink(missing_ok=True)
    given = "--model", directory, "--input", rows, "--output", output
    return run_here(capsys, "predict", *given, "--device", "cpu", "--dtype", "float32")


def assert_refused(ended: Ended, *parts: str) -> None:
    """One line that names what is wrong, exit code 2."""
    assert ended.code == 2, ended.err
    assert len(ended.err.strip().splitlines()) == 1, ended.err
    assert len(ended.err) < 600  # the line, and what became of the output
    for part in parts:
        assert part in ended.err


def save_model(directory: Path, model: DualHeadModel, labels: LabelSet = LABELS, **info: Any) -> dict[str, Any]:
    """Write a model as an artifact, and give the config that was written."""
    save_artifact(directory, model, ArtifactInfo(kind=kind_of(model), labels=labels, **info), card="#", run={"a": 1})
    config: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return config


def perturb(model: DualHeadModel) -> DualHeadModel:
    """Move what is trained, so that adapters, too, do something."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def names_in(path: Path) -> set[str]:
    """The tensors of a file, by name."""
    with safe_open(path, "pt") as file:
        return set(file.keys())
