"""Batches the rows of concurrent requests for one model, which runs in its own thread.

request → tokens (a small pool of threads) → queue → the engine's thread: a batch, one call, answers by job
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from dhrd.data.inputs import EncodedInput
from dhrd.inference.classifier import Classifier
from dhrd.inference.prediction import Prediction, Row
from dhrd.inference.streaming import Scored
from dhrd.serving.limits import Limits, Refusal
from dhrd.serving.monitoring import ServerMetrics, log_failure
from dhrd.serving.queue import Job, Part, TokenQueue

_GATHER_SHARE = 0.1  # of the last batch's time, to wait for the next rows of clients that just got an answer
_NUM_ENCODERS = 2


class Dispatcher:
    """Classifies rows of any number of concurrent requests.

    Args:
        classifier: The loaded classifier.
        limits: Limits of the queue.
        metrics: Metrics to update with every batch.
    """

    def __init__(self, classifier: Classifier, limits: Limits, metrics: ServerMetrics) -> None:
        self.classifier, self.limits, self.metrics = classifier, limits, metrics
        self._queue = TokenQueue()
        self._changed = threading.Condition()
        self._is_closed = False
        self._tokens_per_second = 0.0
        self._encoders = ThreadPoolExecutor(_NUM_ENCODERS, thread_name_prefix="dhrd-encode")
        self._thread = threading.Thread(target=self._run, name="dhrd-engine", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the engine's thread is running."""
        return self._thread.is_alive() and not self._is_closed

    async def classify(self, rows: Sequence[Row]) -> tuple[list[EncodedInput], list[Prediction]]:
        """Encode and classify rows, in order. On cancellation, the rows leave the queue.

        Raises:
            DataError: A row cannot be read.
            Refusal: The queue is full.
        """
        inputs = await asyncio.get_running_loop().run_in_executor(self._encoders, self.classifier.encode, rows)
        job = Job(rows, inputs)
        self._put(job)
        try:
            return inputs, await asyncio.wrap_future(job.future)
        finally:
            self._discard(job)

    @property
    def retry_after_s(self) -> int:
        """Estimated seconds until the queued rows are answered."""
        return min(60, max(1, math.ceil(self._queue.num_tokens / max(1.0, self._tokens_per_second))))

    def close(self) -> None:
        """Answer all queued rows, then stop."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()
        self._encoders.shutdown()

    def _put(self, job: Job) -> None:
        most, own = self.limits.max_queue_tokens, job.num_waiting_tokens
        if own > most:
            raise Refusal(413, "too_many_tokens", f"{own} tokens exceed the queue's {most}; send fewer rows at once")
        with self._changed:
            if (waiting := self._queue.num_tokens) + own > most:
                message = f"{waiting} of {most} tokens are queued already; try again after the time in Retry-After"
                raise Refusal(429, "queue_full", message, retry_after_s=self.retry_after_s)
            self._queue.put(job)
            self._changed.notify_all()
        self._show_queue()

    def _discard(self, job: Job) -> None:
        with self._changed:
            self._queue.discard(job)
        self._show_queue()

    def _show_queue(self) -> None:
        self.metrics.queue_tokens.set(self._queue.num_tokens)
        self.metrics.queue_rows.set(self._queue.num_rows)

    def _run(self) -> None:
        num_rows, seconds = 0, 0.0
        while parts := self._next(num_rows, seconds):
            self._show_queue()
            start = time.monotonic()
            self._answer(parts)
            num_rows, seconds = sum(len(part.inputs) for part in parts), time.monotonic() - start

    def _next(self, num_rows: int, seconds: float) -> list[Part]:
        """Wait for the next batch; empty after `close`.

        Args:
            num_rows: Rows of the last batch, whose clients may send as many again.
            seconds: Duration of the last batch.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._queue.num_rows or self._is_closed)
            self._changed.wait_for(lambda: self._queue.num_rows >= num_rows or self._is_closed, _GATHER_SHARE * seconds)
            return self._queue.take(self.classifier.engine.options.max_tokens_per_pass)

    def _answer(self, parts: Sequence[Part]) -> None:
        proba_BC: np.ndarray | None = None
        try:
            proba_BC = self._score([item for part in parts for item in part.inputs])
        except Exception as error:  # one job's error must not affect the others
            traceback.clear_frames(error.__traceback__)  # a job keeps its error, which would keep the pass's tensors
            if len(parts) == 1:
                log_failure("classifying", error)
                _settle(parts[0].job.future, error=error)
        if proba_BC is None:  # only here, where the error is gone with all that it held
            for part in parts if len(parts) > 1 else ():
                self._answer([part])
            return
        ends = np.cumsum([len(part.inputs) for part in parts])[:-1]
        for part, part_BC in zip(parts, np.split(proba_BC, ends), strict=True):
            part.job.probabilities.append(part_BC)
            self._finish(part.job)

    def _score(self, inputs: Sequence[EncodedInput]) -> np.ndarray:
        start = time.monotonic()
        proba_BC = self.classifier.predict_proba_encoded(inputs)
        seconds = time.monotonic() - start
        num_tokens = sum(len(item.input_ids) for item in inputs)
        self._tokens_per_second = num_tokens / max(seconds, 1e-6)
        self.metrics.ran(len(inputs), num_tokens, seconds)
        return proba_BC

    def _finish(self, job: Job) -> None:
        if sum(map(len, job.probabilities)) < len(job.inputs):
            return
        try:
            predictions = self.classifier.predictions(Scored(job.rows, job.inputs, np.concatenate(job.probabilities)))
        except Exception as error:
            log_failure("reading probabilities", error)
            _settle(job.future, error=error)
        else:
            _settle(job.future, predictions)


def _settle(
    future: Future[list[Prediction]], result: list[Prediction] | None = None, error: BaseException | None = None
) -> None:
    """Set a future's outcome, unless it was cancelled."""
    with suppress(InvalidStateError):
        if error is not None:
            future.set_exception(error)
        elif result is not None:
            future.set_result(result)
