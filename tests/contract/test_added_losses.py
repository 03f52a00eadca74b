"""What the added losses and first weights leave: a stock artifact, and an error where they cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from dhrd.artifact.info import ArtifactInfo, read_info
from dhrd.artifact.write import kind_of, save_artifact
from dhrd.config import LossSettings
from dhrd.data.records import LabelSet
from helpers.models import make_batch, make_model, rows
from helpers.runs import LABELS, flags, run_here, settings, write_rows


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_transformers_gives_the_class_logits_of_the_training_pass(family: str, tmp_path: Path) -> None:
    """What training computes over whole sequences, with every added loss, and the stock class over inputs alone."""
    loss = LossSettings(keyword_weight=1, privileged_weight=1)
    model = make_model(family, loss=loss).eval()
    info = ArtifactInfo(kind=kind_of(model), labels=LabelSet(LABELS))
    save_artifact(tmp_path, model, info)
    stock, loading = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    examples = rows(6)
    with torch.no_grad():
        ours_BC = model(make_batch(examples, model)).logits_BC
        theirs_BC = torch.cat([stock(input_ids=torch.tensor([row.input_ids])).logits for row in examples])
    torch.testing.assert_close(theirs_BC, ours_BC, rtol=1e-4, atol=1e-4)


def test_a_manifest_of_before_is_read(tmp_path: Path) -> None:
    """An older dhrd wrote two fields of the sequence more; most artifacts did not use them."""
    model = make_model("llama")
    save_artifact(tmp_path, model, ArtifactInfo(kind=kind_of(model), labels=LabelSet(LABELS)))
    info, manifest = read_info(tmp_path), json.loads((tmp_path / "dhrd.json").read_text())
    manifest["sequence"] |= {"order": "reason_first", "visible_input_tokens": None}
    (tmp_path / "dhrd.json").write_text(json.dumps(manifest))
    assert read_info(tmp_path) == info


def test_labels_of_the_same_words_are_refused_in_one_line(
    tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path, labels=("stop", "go", "pots"))
    ended = run_here(
        capsys, "train", "--device", "cpu", *flags(settings(tiny_backbone, tmp_path, "model.head_init=label_words"))
    )
    assert ended.code == 2
    assert len(ended.error_lines) == 1
    assert "model.head_init: label_words:" in ended.error_lines[0]
    assert "have the same tokens; rename a label, or use head_init: random" in ended.error_lines[0]
