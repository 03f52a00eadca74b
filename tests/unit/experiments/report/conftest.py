"""A study of a tiny backbone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dhrd.experiments.plan import Request


@pytest.fixture
def request_(tiny_backbone: Path, tmp_path: Path) -> Request:
    from helpers.experiments import make_request  # not before jaxtyping's hook, as in the conftest of `serving`

    return make_request(tiny_backbone, tmp_path, num_seeds=5)
