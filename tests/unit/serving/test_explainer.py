"""Explanations: bounded, one request at a time."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from dhrd import Classifier
from dhrd.inference.explanation import Explanation
from dhrd.serving.explainer import Explainer
from dhrd.serving.limits import Limits, Refusal


def refused(explainer: Explainer, rows: Sequence[str], tokens: int | None = None) -> Refusal:
    with pytest.raises(Refusal) as found:
        asyncio.run(explainer.explain(rows, tokens))
    return found.value


def test_explanations_are_the_classifiers(classifier: Classifier) -> None:
    explainer = Explainer(classifier, Limits(max_new_tokens=6))
    texts = ["case 1", "case 2"]
    assert asyncio.run(explainer.explain(texts, None)) == classifier.explain(texts, max_new_tokens=6)
    assert asyncio.run(explainer.explain(texts, 2)) == classifier.explain(texts, max_new_tokens=2)
    explainer.close()


def test_its_thread_is_gone_with_an_answer(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def explain(rows: Sequence[str], *, max_new_tokens: int) -> list[Explanation]:
        threads.append(threading.current_thread())
        return []

    monkeypatch.setattr(classifier, "explain", explain)
    explainer = Explainer(classifier, Limits())
    asyncio.run(explainer.explain(["a"], None))
    assert [thread.is_alive() for thread in threads] == [False]
    explainer.close()


def test_too_much_is_refused(classifier: Classifier) -> None:
    explainer = Explainer(classifier, Limits(max_explained_rows=2, max_new_tokens=1000))
    assert refused(explainer, ["a"] * 3).status == 413
    assert refused(explainer, ["a"], 1001).param == "max_new_tokens"
    assert refused(explainer, ["a"], 1000).status == 422  # over the model's context
    assert refused(Explainer(classifier, Limits(max_explained_rows=0)), ["a"]).status == 404


def test_an_artifact_that_is_gone_is_told(
    served_artifact: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = shutil.copytree(served_artifact, tmp_path / "model")
    classifier = Classifier.from_pretrained(directory, device="cpu", dtype=None)
    shutil.rmtree(directory)
    found = refused(Explainer(classifier, Limits()), ["a"])
    assert (found.status, found.kind) == (503, "no_reasoning_head")
    assert "ArtifactError" in caplog.text and str(tmp_path) not in found.message


def test_few_may_wait(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def explain(rows: Sequence[str], *, max_new_tokens: int) -> list[Explanation]:
        assert go_on.wait(30)
        return [Explanation("because", None, "bill", row) for row in rows]

    monkeypatch.setattr(classifier, "explain", explain)
    explainer = Explainer(classifier, Limits())

    async def ask() -> None:
        tasks = [asyncio.create_task(explainer.explain(["a"], 1)) for _ in range(4)]
        await asyncio.sleep(0.01)
        with pytest.raises(Refusal) as found:
            await explainer.explain(["a"], 1)
        assert (found.value.status, found.value.retry_after_s) == (429, 10)
        go_on.set()
        await asyncio.gather(*tasks)
        assert len(await explainer.explain(["a"], 1)) == 1

    asyncio.run(ask())
