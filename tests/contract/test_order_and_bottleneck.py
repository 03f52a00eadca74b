"""What an artifact tells of its reasoning head: label first, bottleneck; who decodes it, and who refuses to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

import dhrd
from dhrd import Classifier, ConfigError
from dhrd.artifact.info import ArtifactInfo, read_info
from dhrd.artifact.write import kind_of, save_artifact
from dhrd.config import LossSettings
from dhrd.data.records import LabelSet
from dhrd.data.sequence import SequenceTemplate
from dhrd.inference import cot
from dhrd.inference.vllm import VllmDecoder
from helpers.models import make_batch, make_model, rows
from helpers.runs import LABELS, flags, make_config, run_here, settings, write_rows

BOTH = ("data.order=label_first", "model.reasoning_bottleneck=true", "model.bottleneck_tokens=2")
TEXTS = ["case 7: keep", "case 8: repair xx", "case 9: return"]


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained with the label first and a bottleneck of two tokens; the input ends in the answer's marker."""
    directory = tmp_path_factory.mktemp("label_first")
    template = 'data.input_template="{{ input_text }}\\nAnswer:"'
    config = make_config(tiny_backbone, directory, *BOTH, template, "training.num_epochs=1")
    return dhrd.train(config, device="cpu").output_dir


def test_the_manifest_tells_order_and_bottleneck(artifact: Path) -> None:
    sequence = json.loads((artifact / "dhrd.json").read_text())["sequence"]
    assert (sequence["order"], sequence["visible_input_tokens"]) == ("label_first", 2)
    assert read_info(artifact).sequence == SequenceTemplate(order="label_first", visible_input_tokens=2)


def test_a_manifest_from_before_them_is_read(artifact: Path, tmp_path: Path) -> None:
    for path in artifact.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((tmp_path / "dhrd.json").read_text())
    del manifest["sequence"]["order"], manifest["sequence"]["visible_input_tokens"]
    (tmp_path / "dhrd.json").write_text(json.dumps(manifest))
    assert read_info(tmp_path).sequence == SequenceTemplate()
    ours, theirs = (Classifier.from_pretrained(path, device="cpu", dtype=None) for path in (tmp_path, artifact))
    assert np.array_equal(ours.predict_proba(TEXTS), theirs.predict_proba(TEXTS))


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3"])
def test_transformers_gives_the_class_logits_of_the_masked_pass(family: str, tmp_path: Path) -> None:
    """What training computes over whole sequences, with every added loss, and the stock class over inputs alone."""
    loss = LossSettings(keyword_weight=1, privileged_weight=1)
    model = make_model(family, loss=loss, reasoning_bottleneck=True).eval()
    sequence = SequenceTemplate(visible_input_tokens=1)
    info = ArtifactInfo(kind=kind_of(model), labels=LabelSet(LABELS), sequence=sequence)
    save_artifact(tmp_path, model, info)
    stock, loading = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    examples = rows(6)
    with torch.no_grad():
        ours_BC = model(make_batch(examples, model, visible_input_tokens=[1] * 6)).logits_BC
        theirs_BC = torch.cat([stock(input_ids=torch.tensor([row.input_ids])).logits for row in examples])
    torch.testing.assert_close(theirs_BC, ours_BC, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", [("cot",), ("cascade", "--threshold", "0.5"), ("cascade", "--target-cost", "2")])
def test_chain_of_thought_by_a_head_that_answers_first_is_refused(
    artifact: Path, mode: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    ended = run_here(capsys, "evaluate", "--model", artifact, "--device", "cpu", "--mode", *mode)
    assert ended.code == 2
    assert len(ended.error_lines) == 1
    assert "data.order: label_first, so its reasoning head names the label before it reasons" in ended.error_lines[0]
    assert "use the classifier (mode classifier), or Classifier.explain" in ended.error_lines[0]


def test_explaining_works_and_says_that_the_rationale_follows_the_answer(
    artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier.from_pretrained(artifact, device="cpu", dtype=None)
    given: dict[str, Any] = {}

    def recite(model: Any, tokenizer: Any, prompts: Any, **options: Any) -> list[list[int]]:
        given.update(options, prompts=prompts)
        return [tokenizer(" return\n\nReasoning: it says so.")["input_ids"] for _ in prompts]

    with monkeypatch.context() as patch:
        patch.setattr(cot, "generate", recite)
        found = classifier.explain(TEXTS[0])
    assert (found.answer, found.rationale) == ("return", "it says so.")
    assert found.label == classifier.predict(TEXTS[0])[0]
    assert found.note.endswith("Its reasoning head names a label first: the rationale follows that answer.")
    assert given["visible_prompt_tokens"] == 2
    assert given["marker"] == ()  # the input ends in it already
    assert given["stop"] is None  # a rationale may have lines
    assert len(classifier.explain(TEXTS, max_new_tokens=5)) == 3  # by the tiny model itself


def test_vllm_is_not_even_imported_for_a_bottleneck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # any import of it fails
    model = make_model("llama")
    with pytest.raises(ConfigError, match=r"vLLM cannot decode .* model\.reasoning_bottleneck.*with transformers$"):
        VllmDecoder(
            model.causal_lm,
            model.tokenizer,
            LabelSet(("a", "b")),
            max_input_tokens=40,
            max_new_tokens=8,
            template=SequenceTemplate(visible_input_tokens=1),
        )


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
