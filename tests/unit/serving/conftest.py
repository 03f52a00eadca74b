"""A tiny classifier for each test of the server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dhrd import Classifier


@pytest.fixture
def classifier(served_artifact: Path) -> Classifier:
    from dhrd import Classifier  # not before jaxtyping's hook, which pytest installs after it has read this file

    return Classifier.from_pretrained(served_artifact, device="cpu", dtype=None)
