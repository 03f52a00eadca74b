"""Explanations on request, one request at a time, as each takes one pass per token."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from dhrd.errors import ArtifactError, ConfigError
from dhrd.inference.classifier import Classifier
from dhrd.inference.explanation import Explanation
from dhrd.inference.prediction import Row
from dhrd.model.memory import own_weights
from dhrd.serving.limits import Limits, Refusal, check_number
from dhrd.serving.monitoring import log_failure
from dhrd.serving.threads import in_own_thread

_MAX_WAITING = 4  # requests; more would exceed the deadline before their turn


class Explainer:
    """Runs the reasoning head on rows.

    Args:
        classifier: The classifier; its reasoning head is loaded by the first request.
        limits: Limits on rows and tokens.
    """

    def __init__(self, classifier: Classifier, limits: Limits) -> None:
        self.classifier, self.limits = classifier, limits
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="dhrd-explain")
        self._num_waiting, self._is_loaded = 0, False

    @property
    def is_offered(self) -> bool:
        """Whether rows may be sent."""
        return self.limits.max_explained_rows > 0 and self.classifier.info.reasons

    async def explain(self, rows: Sequence[Row], max_new_tokens: int | None) -> list[Explanation]:
        """Let the reasoning head write about rows.

        Args:
            rows: Texts or columns.
            max_new_tokens: Maximum tokens; None: the server's limit.

        Raises:
            DataError: A row cannot be read.
            Refusal: Explanations are turned off, the request is too large, or too many are waiting.
        """
        tokens = self._allowed(rows, max_new_tokens)
        if self._num_waiting >= _MAX_WAITING:
            raise Refusal(429, "busy", "other explanations are being written; try again later", retry_after_s=10)
        self._num_waiting += 1
        explain = partial(in_own_thread, partial(self._explain, rows, tokens))
        work = asyncio.get_running_loop().run_in_executor(self._pool, explain)
        work.add_done_callback(self._left)  # also if the request was cancelled, as a thread cannot be stopped
        return await work

    def close(self) -> None:
        """Stop after the explanations in progress."""
        self._pool.shutdown(cancel_futures=True)

    def _allowed(self, rows: Sequence[Row], max_new_tokens: int | None) -> int:
        most, limit = self.limits.max_explained_rows, self.limits.max_new_tokens
        if not self.classifier.info.reasons:
            message = (
                "the model was trained without rationales, so its reasoning head explains nothing; serve one that was "
                "trained with them"
            )
            raise Refusal(404, "no_explanations", message)
        if not most:
            raise Refusal(
                404, "no_explanations", "this server gives no explanations; restart it with max_explained_rows above 0"
            )
        check_number(rows, most, "input")
        if max_new_tokens is not None and max_new_tokens > limit:
            raise Refusal(422, "invalid_request", f"give {limit} tokens or fewer", param="max_new_tokens")
        return max_new_tokens or limit

    def _explain(self, rows: Sequence[Row], max_new_tokens: int) -> list[Explanation]:
        self._load()
        try:
            return self.classifier.explain(rows, max_new_tokens=max_new_tokens)
        except ConfigError as error:  # the model's context is too short for both
            raise Refusal(422, "invalid_request", str(error), param="max_new_tokens") from error

    def _load(self) -> None:
        if self._is_loaded:
            return
        try:
            own_weights(self.classifier.reasoner().model)
        except ArtifactError as error:
            log_failure("loading the reasoning head", error)
            message = "the artifact's reasoning head can no longer be read; restore it and restart the server"
            raise Refusal(503, "no_reasoning_head", message) from error
        self._is_loaded = True

    def _left(self, work: asyncio.Future[list[Explanation]]) -> None:
        self._num_waiting -= 1
        if not work.cancelled():
            work.exception()  # mark it as retrieved: nobody awaits a cancelled request
