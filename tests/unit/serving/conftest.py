"""One tiny artifact for all tests of the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd import Classifier
from helpers.artifacts import save_tiny


@pytest.fixture(scope="session")
def served_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("serving") / "tiny")


@pytest.fixture
def classifier(served_artifact: Path) -> Classifier:
    return Classifier.from_pretrained(served_artifact, device="cpu", dtype=None)
