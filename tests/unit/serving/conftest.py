"""A tiny classifier for each test of the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd import Classifier


@pytest.fixture
def classifier(served_artifact: Path) -> Classifier:
    return Classifier.from_pretrained(served_artifact, device="cpu", dtype=None)
