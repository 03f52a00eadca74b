"""The classifier on an artifact: labels, order, streams that break, damaged weights."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import dhrd
from dhrd import ArtifactError, Classifier, ConfigError, DataError, Example
from dhrd.inference.streaming import Scored
from dhrd.model.precision import fast_dtype
from helpers.artifacts import change, unbind
from helpers.runs import make_config, rows


@pytest.fixture(scope="module")
def artifact(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("classifier")
    config = make_config(tiny_backbone, directory, "training.num_epochs=1", "data.max_input_tokens=40")
    return dhrd.train(config).output_dir


@pytest.fixture
def classifier(artifact: Path) -> Classifier:
    return Classifier.from_pretrained(artifact, device="cpu", dtype=None, max_tokens_per_pass=128)


TEXTS = [row["input_text"] for row in rows(23)]


def test_predict_is_the_most_probable_label(classifier: Classifier) -> None:
    probabilities = classifier.predict_proba(TEXTS)
    assert probabilities.shape == (len(TEXTS), 3)
    assert np.allclose(probabilities.sum(1), 1)
    names = classifier.labels.names
    assert classifier.predict(TEXTS) == [names[i] for i in probabilities.argmax(1)]


@pytest.mark.parametrize("kind", ["text", "dict", "example"])
def test_rows_of_every_kind_say_the_same(classifier: Classifier, kind: str) -> None:
    make = {"text": str, "dict": lambda t: {"input_text": t}, "example": lambda t: Example(input_text=t)}[kind]
    given = classifier.predict_proba([make(text) for text in TEXTS])
    assert np.allclose(given, classifier.predict_proba(TEXTS))


def test_one_text_is_a_list_of_one(classifier: Classifier) -> None:
    assert classifier.predict(TEXTS[0]) == classifier.predict(TEXTS[:1])
    assert classifier.predict([]) == []
    assert classifier.predict_proba([]).shape == (0, 3)


def test_tokens_per_pass_do_not_matter(artifact: Path, classifier: Classifier) -> None:
    narrow = Classifier.from_pretrained(artifact, device="cpu", dtype=None, max_tokens_per_pass=1)
    one_by_one = narrow.predict_proba(TEXTS)
    assert narrow.engine.work.num_passes == len(TEXTS)
    assert classifier.predict_proba(TEXTS).shape == one_by_one.shape
    assert classifier.engine.work.num_passes < len(TEXTS)
    assert np.allclose(one_by_one, classifier.predict_proba(TEXTS), atol=1e-6)


def test_stream_keeps_the_order_and_reads_at_most_two_windows_ahead(classifier: Classifier) -> None:
    taken = 0

    def source() -> Iterator[str]:
        nonlocal taken
        for text in TEXTS:
            taken += 1
            yield text

    stream = classifier.stream(source(), window=5)
    first = next(stream)
    assert taken == 10
    assert [first.text, *(prediction.text for prediction in stream)] == TEXTS


def test_rows_before_a_bad_one_are_delivered(classifier: Classifier) -> None:
    def source() -> Iterator[str]:
        yield from TEXTS[:7]
        raise DataError("rows.jsonl:8: input_text: empty")

    delivered = []
    with pytest.raises(DataError, match=r"rows\.jsonl:8"):
        for prediction in classifier.stream(source(), window=5):
            delivered.append(prediction)
    assert len(delivered) == 7


@pytest.mark.parametrize("window", [1, 3, 5, 100])
@pytest.mark.parametrize("error", [ConnectionError("reset by peer"), DataError("rows.jsonl:8: input_text: empty")])
def test_whatever_a_source_raises_comes_after_the_rows_before_it(
    classifier: Classifier, window: int, error: Exception
) -> None:
    def source() -> Iterator[str]:
        yield from TEXTS[:7]
        raise error

    delivered = []
    with pytest.raises(DataError, match=r"rows\.jsonl:8|row 7: .*ConnectionError: reset by peer"):
        for prediction in classifier.stream(source(), window=window):
            delivered.append(prediction.text)
    assert delivered == TEXTS[:7]


@pytest.mark.parametrize("window", [1, 3, 5, 100])
def test_rows_before_one_that_cannot_be_encoded_are_delivered(classifier: Classifier, window: int) -> None:
    delivered = []
    with pytest.raises(DataError, match=r"row 7: .*empty"):
        for prediction in classifier.stream([*TEXTS[:7], " ", *TEXTS[7:]], window=window):
            delivered.append(prediction.text)
    assert delivered == TEXTS[:7]


def test_windows_do_not_matter(classifier: Classifier) -> None:
    whole = [prediction.probabilities for prediction in classifier.stream(TEXTS)]
    for window in (1, 4, len(TEXTS)):
        found = list(classifier.stream(iter(TEXTS), window=window))
        assert [one.text for one in found] == TEXTS
        for one, expected in zip(found, whole, strict=True):
            assert one.probabilities == pytest.approx(expected, abs=1e-6)


def test_rows_are_read_in_the_thread_that_asks(classifier: Classifier) -> None:
    threads = set()

    def source() -> Iterator[str]:
        for text in TEXTS:
            threads.add(threading.get_ident())
            yield text

    assert len(list(classifier.stream(source(), window=4))) == len(TEXTS)
    assert threads == {threading.get_ident()}


def test_a_stream_that_is_left_stops(classifier: Classifier) -> None:
    def tokenizing() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("dhrd-tokenize")]

    stream = classifier.stream(iter(TEXTS), window=3)
    next(stream)
    assert len(tokenizing()) == 1
    stream.close()
    assert not tokenizing()


def test_strict_refuses_what_is_otherwise_cut_and_counted(artifact: Path, classifier: Classifier) -> None:
    long = "x" * 100
    assert classifier.predict([long])
    assert classifier.num_cut == 1
    strict = Classifier.from_pretrained(artifact, device="cpu", strict=True)
    assert strict.predict(TEXTS[0])
    with pytest.raises(DataError, match=r"row 1: 100 tokens exceed the limit of 40; .*`strict`"):
        strict.predict([TEXTS[0], long])


def test_a_row_of_one_token_is_a_row(classifier: Classifier) -> None:
    assert np.isfinite(classifier.predict_proba(["a", "b"])).all()


def test_dtypes_by_name_and_a_head_in_fp32(artifact: Path) -> None:
    half = Classifier.from_pretrained(artifact, device="cpu", dtype="bfloat16")
    whole = Classifier.from_pretrained(artifact, device="cpu", dtype="float32")
    assert (half.dtype, whole.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(half.head.score.weight, whole.head.score.weight)
    assert half.head.score.weight.dtype == torch.float32
    assert np.abs(half.predict_proba(TEXTS) - whole.predict_proba(TEXTS)).max() < 0.03
    assert Classifier.from_pretrained(artifact, device="cpu").dtype == fast_dtype(
        torch.device("cpu"), whole.body.config
    )
    with pytest.raises(ConfigError, match=r"`dtype` int8: unknown; give auto, float32"):
        Classifier.from_pretrained(artifact, dtype="int8")


def test_shared_text_is_run_once(artifact: Path) -> None:
    rows = ["the same beginning of a rather long text, " + end for end in ("one", "two", "three", "four")]
    shared, apart = (
        Classifier.from_pretrained(artifact, device="cpu", dtype="float32", share_prefixes=share)
        for share in (True, False)
    )
    for one in (shared, apart):
        one.encoder = replace(one.encoder, max_input_tokens=200)
    assert np.allclose(shared.predict_proba(rows), apart.predict_proba(rows), atol=1e-6)
    assert shared.engine.work.sharing_ratio > 2
    assert apart.engine.work.sharing_ratio == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_layers_give_the_same(artifact: Path, classifier: Classifier) -> None:
    compiled = Classifier.from_pretrained(artifact, device="cpu", dtype="float32", compile=True)
    assert np.allclose(compiled.predict_proba(TEXTS), classifier.predict_proba(TEXTS), atol=1e-5)


def test_a_failed_compilation_is_one_line(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("No working C++ compiler found\nsecond line")

    monkeypatch.setattr(type(classifier.body), "forward", fail)
    with pytest.raises(ConfigError, match=r"^`compile`: torch.compile failed here \(No working C\+\+ compiler found\)"):
        classifier.engine.compile()


@pytest.mark.parametrize(("row", "message"), [("  ", "empty"), (3, "got a int"), ({"text": "x"}, "input_text")])
def test_bad_rows_are_named(classifier: Classifier, row: object, message: str) -> None:
    with pytest.raises(DataError, match=rf"row 1: .*{message}"):
        classifier.predict(["fine", row])  # type: ignore[list-item]


def test_long_and_pad_ending_inputs_are_counted(classifier: Classifier) -> None:
    classifier.predict(["fine", "x" * 100, "ends in <pad>"])
    assert (classifier.num_cut, classifier.num_mended) == (1, 1)


def damaged(artifact: Path, directory: Path, change: object) -> Path:
    shutil.copytree(artifact, directory)
    unbind(directory)
    state = load_file(directory / "model.safetensors")
    change(state)  # type: ignore[operator]
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def test_a_missing_head_is_refused(artifact: Path, tmp_path: Path) -> None:
    broken = damaged(artifact, tmp_path / "broken", lambda state: state.pop("score.weight"))
    with pytest.raises(ArtifactError, match=r"score\.weight"):
        Classifier.from_pretrained(broken)


def test_a_head_of_another_label_count_is_refused(artifact: Path, tmp_path: Path) -> None:
    def cut(state: dict[str, torch.Tensor]) -> None:
        state["score.weight"] = state["score.weight"][:2].clone()

    with pytest.raises(ArtifactError, match=r"weights cannot be loaded|another shape"):
        Classifier.from_pretrained(damaged(artifact, tmp_path / "weights", cut))
    other = shutil.copytree(artifact, tmp_path / "manifest")
    unbind(other)
    manifest = json.loads((other / "dhrd.json").read_text())
    manifest["labels"]["names"], manifest["labels"]["words"] = ["a", "b"], ["a", "b"]
    (other / "dhrd.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"the head has 3 labels, dhrd\.json 2"):
        Classifier.from_pretrained(other)


def test_nan_weights_give_an_error_and_no_labels(artifact: Path, tmp_path: Path) -> None:
    broken = damaged(artifact, tmp_path / "broken", lambda state: state["score.weight"].fill_(float("nan")))
    with pytest.raises(ArtifactError, match="NaN"):
        Classifier.from_pretrained(broken).predict(["fine"])


def test_an_explanation_goes_beside_the_label_and_says_what_it_is(classifier: Classifier) -> None:
    found = classifier.explain(TEXTS[:5], max_new_tokens=8)
    assert [one.label for one in found] == classifier.predict(TEXTS[:5])
    assert [one.text for one in found] == TEXTS[:5]
    assert all(one.answer in (None, *classifier.labels.names) for one in found)
    assert all("not the cause of the label" in one.note for one in found)
    reasoner = classifier._reasoner
    assert classifier.explain(TEXTS[0], max_new_tokens=8) == found[0]
    assert classifier.explain({"input_text": TEXTS[0]}, max_new_tokens=8) == found[0]
    assert classifier.explain([]) == []
    assert reasoner is not None
    assert classifier._reasoner is reasoner  # loaded once
    with pytest.raises(DataError, match=r"row 0: .*empty"):
        classifier.explain(" ")


def test_an_explanation_has_no_label_where_the_decision_abstains(artifact: Path, tmp_path: Path) -> None:
    """It had the label that the decision holds back."""
    copy = shutil.copytree(artifact, tmp_path / "decided")
    plain = Classifier.from_pretrained(copy, device="cpu", dtype=None)
    rule = {
        "target": {"measure": "accuracy", "level": 0.9, "label": ""},
        "threshold": float(np.median(plain.predict_proba(TEXTS).max(1))),
    }
    decision = {"rules": [rule], "confidence": 0.9, "sets": None, "num_rows": 100, "fingerprint": "0"}
    change(copy / "dhrd.json", decision=decision, format_version=2)
    decided = Classifier.from_pretrained(copy, device="cpu", dtype=None)
    labels = [one.label for one in decided.explain(TEXTS, max_new_tokens=2)]
    assert labels == decided.predict(TEXTS)
    assert None in labels and set(labels) != {None}


def test_a_classifier_that_was_not_loaded_from_a_directory_cannot_explain(classifier: Classifier) -> None:
    bare = Classifier(classifier.body, classifier.head, classifier.tokenizer, classifier.info)
    with pytest.raises(ArtifactError, match="not loaded from a directory"):
        bare.explain("fine")


def test_a_reasoning_head_that_was_not_trained_explains_nothing(artifact: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(artifact, tmp_path / "artifact")
    change(copy / "dhrd.json", training={"reasoning_weight": 0})
    with pytest.raises(ArtifactError, match=r"reasoning_weight: 0.* give a model that was trained with rationales"):
        Classifier.from_pretrained(copy, device="cpu", dtype=None).explain("fine")


def test_explanations_are_decoded_in_the_classifiers_precision(artifact: Path) -> None:
    classifier = Classifier.from_pretrained(artifact, device="cpu", dtype="bfloat16")
    classifier.explain("fine", max_new_tokens=2)
    assert classifier._reasoner is not None
    assert classifier._reasoner.model.dtype == classifier.body.dtype


def test_encoding_scoring_and_reading_step_by_step_say_the_same(classifier: Classifier) -> None:
    """For those who form batches themselves."""
    inputs = classifier.encode(TEXTS)
    part = Scored(TEXTS, inputs, classifier.predict_proba_encoded(inputs))
    predictions = classifier.predictions(part)
    assert [prediction.label for prediction in predictions] == classifier.predict(TEXTS)
    with pytest.raises(DataError, match="row 7"):
        classifier.encode(["", "a"], 7)
