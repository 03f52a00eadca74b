"""Many requests, one model: the answers are those of each request alone."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from dhrd import Classifier, DataError
from dhrd.data.inputs import EncodedInput
from dhrd.serving.limits import Limits, Refusal

pytest.importorskip("prometheus_client", reason="no prometheus_client: pip install 'dhrd[serve]'")

from dhrd.serving.dispatcher import Dispatcher
from dhrd.serving.monitoring import ServerMetrics


@contextmanager
def dispatching(classifier: Classifier, **limits: int) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(classifier, Limits(**limits), ServerMetrics())
    yield dispatcher
    dispatcher.close()
    assert not dispatcher.is_alive


class Gated:
    """A classifier's forward pass that waits until it may go on.

    Args:
        classifier: Its `predict_proba_encoded` is replaced.
    """

    def __init__(self, classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.begun, self.sizes = threading.Event(), threading.Event(), list[int]()
        self._forward = classifier.predict_proba_encoded
        monkeypatch.setattr(classifier, "predict_proba_encoded", self)

    def __call__(self, inputs: Sequence[EncodedInput]) -> np.ndarray:
        self.sizes.append(len(inputs))
        self.begun.set()
        assert self.open.wait(30)
        if any("spoilt" in item.text for item in inputs):
            raise RuntimeError("spoilt")
        return self._forward(inputs)


TEXTS = [f"case {n}: " + "late " * (n % 7) for n in range(40)]


def test_rows_of_many_requests_are_answered_together_as_alone(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = classifier.predict_proba(TEXTS)
    gated = Gated(classifier, monkeypatch)

    async def ask(dispatcher: Dispatcher) -> list[list[float]]:
        first = asyncio.create_task(dispatcher.classify(TEXTS[:1]))
        while not gated.begun.is_set():
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(dispatcher.classify([text])) for text in TEXTS[1:]]
        while dispatcher._queue.num_rows < len(rest):
            await asyncio.sleep(0.001)
        gated.open.set()
        answers = [await task for task in (first, *rest)]
        return [list(prediction.probabilities.values()) for _, (prediction,) in answers]

    with dispatching(classifier) as dispatcher:
        found = asyncio.run(ask(dispatcher))
        assert np.allclose(found, expected, atol=1e-5)
        assert gated.sizes == [1, len(TEXTS) - 1]


def test_a_full_queue_refuses_and_recovers(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    gated = Gated(classifier, monkeypatch)
    text = "x" * 20

    async def ask(dispatcher: Dispatcher) -> None:
        with pytest.raises(Refusal) as refused:
            await dispatcher.classify([text] * 6)
        assert (refused.value.status, refused.value.kind) == (413, "too_many_tokens")
        busy = asyncio.create_task(dispatcher.classify([text]))
        while not gated.begun.is_set():
            await asyncio.sleep(0.001)
        waiting = [asyncio.create_task(dispatcher.classify([text])) for _ in range(5)]
        while dispatcher._queue.num_rows < 5:
            await asyncio.sleep(0.001)
        with pytest.raises(Refusal) as refused:
            await dispatcher.classify([text])
        assert refused.value.status == 429 and 1 <= (refused.value.retry_after_s or 0) <= 60
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        waiting.append(asyncio.create_task(dispatcher.classify([text])))  # the cancelled request left its place
        gated.open.set()
        for task in (busy, *waiting[1:]):
            assert len((await task)[1]) == 1

    with dispatching(classifier, max_queue_tokens=100) as dispatcher:
        asyncio.run(ask(dispatcher))


def test_one_request_that_fails_is_not_the_others(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gated = Gated(classifier, monkeypatch)
    gated.open.set()

    async def ask(dispatcher: Dispatcher) -> list[object]:
        texts = ["good", "spoilt secret", "fine"]
        return await asyncio.gather(*(dispatcher.classify([text]) for text in texts), return_exceptions=True)

    with dispatching(classifier) as dispatcher:
        good, spoilt, fine = asyncio.run(ask(dispatcher))
    assert isinstance(good, tuple) and isinstance(fine, tuple)
    assert isinstance(spoilt, RuntimeError)
    assert "RuntimeError" in caplog.text and "secret" not in caplog.text


def test_the_tensors_of_a_pass_that_failed_are_gone_before_its_rows_run_again(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU that is full, one row after the other may fit where all did not; one that does not, spoils no other."""
    forward, gated = classifier.predict_proba_encoded, Gated(classifier, monkeypatch)
    states: list[weakref.ref[torch.Tensor]] = []
    num_left: list[int] = []

    def pass_of(inputs: Sequence[EncodedInput]) -> np.ndarray:
        num_left.append(sum(one() is not None for one in states))
        hidden_BD = torch.zeros(len(inputs), 4)
        states.append(weakref.ref(hidden_BD))
        if len(inputs) > 1 or "long" in inputs[0].text:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(inputs)

    monkeypatch.setattr(gated, "_forward", pass_of)

    async def ask(dispatcher: Dispatcher) -> list[object]:
        busy = asyncio.create_task(dispatcher.classify(["first"]))
        while not gated.begun.is_set():
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(dispatcher.classify([text])) for text in ("long", "one", "other")]
        while dispatcher._queue.num_rows < len(rest):
            await asyncio.sleep(0.001)
        gated.open.set()
        return await asyncio.gather(busy, *rest, return_exceptions=True)

    with dispatching(classifier) as dispatcher:
        _, long, one, other = asyncio.run(ask(dispatcher))
    assert isinstance(long, torch.OutOfMemoryError)
    assert isinstance(one, tuple) and isinstance(other, tuple)
    assert gated.sizes == [1, 3, 1, 1, 1]
    assert num_left == [0] * 5


def test_a_row_that_cannot_be_read_is_told_and_closing_answers_what_waits(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatcher = Dispatcher(classifier, Limits(), ServerMetrics())

    async def ask() -> None:
        with pytest.raises(DataError, match="row 1"):
            await dispatcher.classify(["good", ""])
        tasks = [asyncio.create_task(dispatcher.classify([text])) for text in TEXTS]
        await asyncio.sleep(0.05)
        await asyncio.to_thread(dispatcher.close)
        assert len(await asyncio.gather(*tasks)) == len(TEXTS)

    asyncio.run(ask())
