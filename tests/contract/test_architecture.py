"""docs/architecture.md names what is there, and nothing that is not."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "architecture.md").read_text(encoding="utf-8")


def modules(repository: Path) -> set[str]:
    source = repository / "src" / "dhrd"
    return {str(path.relative_to(source)) for path in source.rglob("*.py") if path.name != "__init__.py"}


def test_the_tree_names_every_module_and_no_other(page: str, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(repository / "scripts")
    sys.modules.pop("tree", None)
    import tree  # type: ignore[import-not-found]

    there = modules(repository)
    assert len(there) > 200
    assert tree.named(page) == there, "python scripts/tree.py --write"


def test_the_walks_name_files_that_are_there(page: str, repository: Path) -> None:
    """By their place below src/dhrd, or in a row of the table below the directory that the row named first."""
    names = set(re.findall(r"`([\w/]+/[\w.]+\.py)`", page.partition("<!-- tree -->")[0]))
    assert len(names) >= 30
    elsewhere = {"scripts/house.py"}
    missing = {
        name
        for name in names - elsewhere
        if name not in modules(repository) and f"experiments/{name}" not in modules(repository)
    }
    assert not missing


def test_the_layers_are_those_that_are_checked(page: str, repository: Path) -> None:
    checked = re.findall(r'^    "(dhrd\.[^"]+)",$', (repository / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    rooms = [layer.replace("dhrd.", "") for layer in checked if "dhrd._" not in layer and layer != "dhrd.errors"]
    assert len(rooms) >= 10
    shown = re.findall(r"^([a-z][a-z_]*(?: \| [a-z][a-z_]*)*)  ", page, re.M)
    assert [layer for layer in shown if layer in rooms] == rooms
