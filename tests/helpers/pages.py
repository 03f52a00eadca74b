"""The commands that a page of docs shows."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def block(heading: str, page: str = "scale.md") -> str:
    """The first commands below a heading."""
    found = re.search(rf"^## {heading}\n.*?```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]
