"""A study of a tiny backbone."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.experiments.plan import Request
from helpers.experiments import make_request


@pytest.fixture
def request_(tiny_backbone: Path, tmp_path: Path) -> Request:
    return make_request(tiny_backbone, tmp_path, num_seeds=5)
