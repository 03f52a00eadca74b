"""Optional dependencies: what is said where one is missing, and where one is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd._extras import require
from dhrd.errors import MissingExtra


def test_what_is_there_is_imported() -> None:
    assert require("json.decoder", extra="x").JSONDecoder is not None


@pytest.mark.parametrize("module", ["no_such_module", "no_such_module.part"])
def test_what_is_missing_is_told_with_the_command(module: str) -> None:
    with pytest.raises(MissingExtra, match=r"is not installed: pip install '\.\[mlflow\]' in a clone"):
        require(module, extra="mlflow")


def test_what_is_broken_inside_speaks_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_inside.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        require("broken_inside", extra="x")
