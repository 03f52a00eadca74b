"""The queue of rows for the model: limited by tokens, and emptied in batches limited by tokens not shared."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from dhrd.data.inputs import EncodedInput
from dhrd.inference.prediction import Prediction, Row

_BLOCK = 32  # tokens; prefixes are compared in steps of this size


@dataclass(eq=False, slots=True)
class Job:
    """The rows of one request.

    Args:
        rows: The rows as given.
        inputs: Their tokens.
        future: Receives their predictions.
        num_taken: Number of rows that batches have taken.
        probabilities: Probabilities of the answered rows, batch by batch.
    """

    rows: Sequence[Row]
    inputs: Sequence[EncodedInput]
    future: Future[list[Prediction]] = field(default_factory=Future)
    num_taken: int = 0
    probabilities: list[np.ndarray] = field(default_factory=list)

    @property
    def num_waiting_tokens(self) -> int:
        """Tokens of the rows that no batch has taken."""
        return sum(len(item.input_ids) for item in self.inputs[self.num_taken :])

    @property
    def num_waiting(self) -> int:
        """Number of rows that no batch has taken."""
        return len(self.inputs) - self.num_taken


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of a job in a batch."""

    job: Job
    inputs: Sequence[EncodedInput]


class TokenQueue:
    """Jobs in order of arrival. Not thread-safe: its owner holds a lock.

    A job too large for one batch contributes a part and goes to the back, so that it does not block the others.
    """

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self.num_tokens = 0
        self.num_rows = 0

    def put(self, job: Job) -> None:
        """Add a job."""
        self._jobs.append(job)
        self._count(job, 1)

    def discard(self, job: Job) -> None:
        """Remove a cancelled job."""
        if job in self._jobs:
            self._jobs.remove(job)
            self._count(job, -1)

    def take(self, max_tokens: int) -> list[Part]:
        """Take the next batch: rows with at most `max_tokens` new tokens in total, or a single row.

        Tokens of a prefix shared with another row of the batch are not new, as the engine computes them only once.
        """
        parts: list[Part] = []
        beginnings: set[int] = set()
        room = max_tokens
        while self._jobs:
            job = self._jobs.popleft()
            self._count(job, -1)
            first = job.num_taken
            while job.num_waiting:
                ids = job.inputs[job.num_taken].input_ids
                keys = beginning_keys(ids)
                new = len(ids) - _BLOCK * sum(key in beginnings for key in keys)
                if new > room and (parts or job.num_taken > first):
                    break
                beginnings.update(keys)
                room -= new
                job.num_taken += 1
            if job.num_taken > first:
                parts.append(Part(job, job.inputs[first : job.num_taken]))
            if job.num_waiting:
                self._back(job, was_served=job.num_taken > first)
                break
        return parts

    def _back(self, job: Job, *, was_served: bool) -> None:
        self._jobs.append(job) if was_served else self._jobs.appendleft(job)
        self._count(job, 1)

    def _count(self, job: Job, sign: int) -> None:
        self.num_tokens += sign * job.num_waiting_tokens
        self.num_rows += sign * job.num_waiting


def beginning_keys(ids: Sequence[int]) -> list[int]:
    """A hash of each prefix of a row, in steps of 32 tokens."""
    keys, key = [], 0
    for start in range(0, len(ids) - _BLOCK + 1, _BLOCK):
        key = hash((key, *ids[start : start + _BLOCK]))
        keys.append(key)
    return keys
