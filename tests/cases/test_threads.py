"""S1, S2, S9, S10, S12: one classifier in many threads and processes says what it says alone."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import random
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dhrd
from dhrd import ArtifactError, Classifier
from dhrd._device import check_loaded
from dhrd._loading import no_foreign_bars
from dhrd.inference.cascade import CoT
from helpers.runs import make_config, save_backbone

LIMIT = 40
LONG = "the train was late again. " * 40


@pytest.fixture(scope="module", params=["llama", "adds bos"])
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain text in, one of them with a token in front of every text."""
    directory = tmp_path_factory.mktemp("threads")
    backbone = save_backbone(directory / "backbone", **({"bos": "<bos>"} if request.param == "adds bos" else {}))
    config = make_config(backbone, directory, "training.num_epochs=1", f"data.max_input_tokens={LIMIT}")
    return dhrd.train(config).output_dir


@pytest.fixture
def classifier(artifact: Path) -> Classifier:
    return Classifier.from_pretrained(artifact, device="cpu", dtype=None)


def texts(count: int, seed: int = 0) -> list[str]:
    """Short ones, and ones over the limit, in any order."""
    draw = random.Random(seed)
    return [
        draw.choice(("lost key", f"case {n}: keep", f"{n} {LONG}", "x" * draw.randint(1, 90))) for n in range(count)
    ]


def in_threads(calls: Sequence[Callable[[], Any]], workers: int = 8) -> list[Any]:
    """The calls' results, in order; whatever one of them raises."""
    with ThreadPoolExecutor(workers) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_s1_probabilities_from_threads_are_those_of_each_text_alone(classifier: Classifier) -> None:
    rows = [LONG, "lost key", *texts(300)]
    alone = {text: classifier.predict_proba([text])[0] for text in rows}
    before = classifier.num_cut
    lengths: list[int] = []
    logits = classifier.engine.logits
    classifier.engine.logits = lambda ids: (lengths.extend(map(len, ids)), logits(ids))[1]  # type: ignore[method-assign]
    found = in_threads([lambda text=text: classifier.predict_proba([text])[0] for text in rows])
    for text, probability_C in zip(rows, found, strict=True):
        assert np.allclose(probability_C, alone[text], atol=1e-6, rtol=0)
    assert len(lengths) == len(rows)
    assert max(lengths) == LIMIT
    num_long = sum(len(ids) > LIMIT for ids in classifier.encoder.tokens.all(rows))
    assert classifier.num_cut - before == num_long > 50


def test_s1_any_mixture_of_calls_from_threads(classifier: Classifier) -> None:
    rows = texts(24, seed=1)
    labels, probabilities_BC = classifier.predict(rows), classifier.predict_proba(rows)
    explained = classifier.explain(rows[:3], max_new_tokens=8)
    work = classifier.engine.work.num_rows

    def check_stream() -> int:
        found = list(classifier.stream(rows, window=5))
        assert [one.label for one in found] == labels
        assert np.allclose([list(one.probabilities.values()) for one in found], probabilities_BC, atol=1e-6, rtol=0)
        return len(rows)

    def check_labels() -> int:
        assert classifier.predict(rows) == labels
        return len(rows)

    def check_probabilities() -> int:
        assert np.allclose(classifier.predict_proba(rows), probabilities_BC, atol=1e-6, rtol=0)
        return len(rows)

    def check_explanations() -> int:
        assert classifier.explain(rows[:3], max_new_tokens=8) == explained
        return 3

    calls = [check_stream, check_labels, check_probabilities, check_explanations] * 6
    num_rows = sum(in_threads(calls))
    assert classifier.engine.work.num_rows - work == num_rows  # the counts are right, too


def test_s1_the_tokenizer_in_another_threads_hands(classifier: Classifier) -> None:
    rows = texts(200, seed=2)
    alone = classifier.predict_proba(rows)

    def use_tokenizer() -> None:
        for _ in range(100):
            classifier.tokenizer("lost key", truncation=True, max_length=3, padding="max_length")

    def ask() -> list[np.ndarray]:
        return [classifier.predict_proba([row])[0] for row in rows]

    *_, found = in_threads([use_tokenizer, use_tokenizer, ask])
    assert np.allclose(found, alone, atol=1e-6, rtol=0)
    assert np.allclose(classifier.predict_proba(rows), alone, atol=1e-6, rtol=0)


def test_s1_a_cascade_in_threads(artifact: Path) -> None:
    cascade = Classifier.from_pretrained(
        artifact, device="cpu", dtype=None, cascade=CoT(max_new_tokens=6, temperature=1.0), threshold=1
    )
    rows = texts(4, seed=3)
    alone = list(cascade.stream(rows))
    found = in_threads([lambda: list(cascade.stream(rows))] * 8)
    assert all(one == alone for one in found)
    assert cascade.num_asked == 9 * len(rows)


def test_s2_a_call_within_its_own_stream(classifier: Classifier) -> None:
    rows = [f"{n} {LONG}" for n in range(120)]
    alone, other = classifier.predict_proba(rows), classifier.predict_proba(["lost key"])
    found = []
    for prediction in classifier.stream(rows, window=8):
        found.append(list(prediction.probabilities.values()))
        assert np.allclose(classifier.predict_proba(["lost key"]), other, atol=1e-6, rtol=0)
    assert np.allclose(found, alone, atol=1e-6, rtol=0)


def test_s9_first_explanations_of_several_classifiers_from_threads(artifact: Path) -> None:
    classifiers = in_threads([lambda: Classifier.from_pretrained(artifact, device="cpu", dtype=None)] * 3)
    calls = [lambda one=one: one.explain("lost key", max_new_tokens=4) for one in classifiers * 4]
    first, *others = in_threads(calls)
    assert all(one == first for one in others)
    assert all(len({id(one.reasoner()) for _ in range(2)}) == 1 for one in classifiers)


def test_s9_loading_is_one_at_a_time() -> None:
    begins, has_entered = threading.Event(), threading.Event()

    def load() -> None:
        begins.set()
        with no_foreign_bars():
            has_entered.set()

    with ThreadPoolExecutor(1) as pool:
        with no_foreign_bars(), no_foreign_bars():  # within itself, too
            pool.submit(load)
            assert begins.wait(60)
            assert not has_entered.wait(0.3)
        assert has_entered.wait(60)


def test_s9_weights_left_on_meta_are_an_artifact_error(classifier: Classifier) -> None:
    check_loaded(classifier.body, "DIR")
    with torch.device("meta"):
        empty = torch.nn.Linear(2, 2)
    with pytest.raises(ArtifactError, match=r"DIR: 2 weights were not loaded \(weight\)"):
        check_loaded(empty, "DIR")


@pytest.mark.parametrize("artifact", ["llama"], indirect=True)
def test_s10_a_classifier_in_a_spawned_process(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(artifact.parent)
    classifier = Classifier.from_pretrained(artifact.name, device="cpu", dtype=None, max_tokens_per_pass=64)
    rows = texts(10)
    monkeypatch.chdir("/")  # the directory is found from anywhere
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(Classifier.predict, classifier, rows).result() == classifier.predict(rows)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_s10_copies_are_loaded_again_with_the_same_options(artifact: Path, copied: Callable[..., Classifier]) -> None:
    options: dict[str, Any] = {"strict": True, "max_tokens_per_pass": 64, "cascade": CoT(seed=3), "threshold": 0.25}
    classifier = Classifier.from_pretrained(artifact, device="cpu", dtype=torch.float64, **options)
    other = copied(classifier)
    assert other.engine.options == classifier.engine.options
    assert (other.encoder.strict, other.cascade, other.threshold) == (True, CoT(seed=3), 0.25)
    assert (other.device, other.dtype) == (classifier.device, torch.float64)
    assert other.body is not classifier.body
    assert np.allclose(other.predict_proba("lost key"), classifier.predict_proba("lost key"))


def test_s10_without_a_directory_there_is_one_sentence(classifier: Classifier) -> None:
    built = Classifier(classifier.body, classifier.head, classifier.tokenizer, classifier.info)
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(ArtifactError, match=r"not loaded from a directory .*call Classifier\.from_pretrained"):
            act(built)


FORKED = """
import multiprocessing, sys, torch, dhrd
torch.set_num_threads(1)
classifier = dhrd.Classifier.from_pretrained(sys.argv[1], device="cpu", dtype=None)
classifier.predict(["lost key"])
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(classifier.predict, [["lost key"]] * 2) == [classifier.predict(["lost key"])] * 2)
"""


def test_s12_with_one_thread_of_torch_a_used_classifier_may_be_forked(
    artifact: Path, commands: Path, tmp_path: Path
) -> None:
    """As docs/inference.md says; with two, torch itself hangs."""
    (tmp_path / "forked.py").write_text(FORKED, encoding="utf-8")
    ended = subprocess.run(
        [commands / "python", tmp_path / "forked.py", artifact], capture_output=True, text=True, timeout=120, check=True
    )
    assert ended.stdout.strip() == "True"
