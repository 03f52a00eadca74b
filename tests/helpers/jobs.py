"""Long jobs without a model: a classifier whose probabilities are a function of the text, in small windows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dhrd._files import Writer
from dhrd.artifact.info import ArtifactInfo, read_info, to_manifest
from dhrd.data.inputs import EncodedInput
from dhrd.data.records import Example, LabelSet
from dhrd.decisions.decision import Decision
from dhrd.errors import DataError
from dhrd.inference.classifier import Classifier
from dhrd.inference.prediction import Prediction, predictions_of
from dhrd.inference.streaming import Scored, encoded_windows

LABELS = LabelSet(("bill", "login", "mail"))
WINDOW = 8


class HashClassifier(Classifier):
    """What `predict_to` needs of a classifier. Probabilities depend on the window too, as rounding does."""

    device = torch.device("cpu")
    dtype = torch.float32
    labels = LABELS
    num_cut = num_mended = 0

    def __init__(self, decision: Decision | None = None) -> None:
        self.info = ArtifactInfo(kind="sequence_classifier", labels=LABELS, decision=decision)

    def scored(self, rows: Iterable[Example], *, skip: bool = False) -> Iterator[Scored[Example]]:
        for window in encoded_windows(rows, self._encode, WINDOW, skip=skip):
            seeds = [hashlib.sha256(item.text.encode()).digest()[0] for item in window.inputs]
            p_BC = np.random.default_rng(seeds).dirichlet([1.0] * len(LABELS), len(seeds))
            yield Scored(window.rows, window.inputs, p_BC, window.refused, window.is_whole)
            if window.failure is not None:
                raise window.failure

    def predictions(self, part: Scored[Example]) -> list[Prediction]:
        return predictions_of(part.rows, (item.text for item in part.inputs), part.probabilities_BC, self.info)

    def stream(self, rows: Iterable[Example]) -> Iterator[Prediction]:
        for part in self.scored(rows):
            yield from self.predictions(part)

    def _encode(self, rows: Sequence[Example], first: int) -> list[EncodedInput]:
        return [self._encoded(row) for row in rows]

    def _encoded(self, row: Example) -> EncodedInput:
        if "unusable" in row.input_text:
            raise DataError(f"{row.where}: too long for the model")
        return EncodedInput(input_ids=[1], text=row.input_text, was_cut=len(row.input_text) > 20, was_mended=False)


def use(monkeypatch: pytest.MonkeyPatch, directory: Path, decision: Decision | None = None) -> Path:
    """Let every artifact load as that classifier; gives a directory with an artifact's files."""
    monkeypatch.setattr(
        Classifier, "from_pretrained", lambda directory, **options: HashClassifier(read_info(directory).decision)
    )
    directory.mkdir(exist_ok=True)
    (directory / "dhrd.json").write_text(json.dumps(to_manifest(HashClassifier(decision).info)))
    (directory / "model.safetensors").write_bytes(b"weights")
    return directory


def killed(job: Callable[[], Any], num_bytes: int) -> bool:
    """Run a job in a process that is killed at a write, in its middle, after so many bytes; False: it ended before."""
    write, left = Writer.write, num_bytes

    def counted(self: Writer, content: str | bytes) -> None:
        nonlocal left
        left -= len(content)
        if left <= 0:
            write(self, content[: len(content) // 2])
            self._file.flush()
            os.kill(os.getpid(), 9)
        write(self, content)

    return killed_by((Writer, "write", counted), job)


def killed_at(place: Any, name: str, number: int, job: Callable[[], Any]) -> bool:
    """Run a job in a process that is killed in place of the n-th call of a function; False: it ended before.

    Args:
        place: What has the function, as an attribute.
        name: Of the function.
        number: From 1.
        job: What is run.
    """
    function, left = getattr(place, name), number

    def counted(*arguments: Any, **more: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return function(*arguments, **more)

    return killed_by((place, name, counted), job)


def killed_by(change: tuple[Any, str, Any], job: Callable[[], Any]) -> bool:
    """Run a job in a process of its own, with an attribute changed there; whether that was killed."""
    pid = os.fork()
    if pid == 0:
        setattr(*change)
        code = 1
        try:
            job()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)
