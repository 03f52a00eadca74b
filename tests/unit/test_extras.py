"""Optional dependencies: what is said where one is missing, and where one is broken."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

from dhrd._extras import check_vllm, require
from dhrd.errors import ConfigError, MissingExtra


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


def test_where_vllm_is_not_installed_who_asked_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"^against cot_vllm: this needs vLLM: pip install vllm"):
        check_vllm("against cot_vllm")


DISTRIBUTIONS = {"prometheus_client": "prometheus-client", "h11": "uvicorn", "module": ""}
"""Where a module's distribution has another name; uvicorn brings h11; `module` is each of a few in a list."""


def doors(source: Path) -> set[tuple[str, str]]:
    """The extra and the module of each call of `require`."""
    calls = [node for path in source.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    return {
        (
            call.keywords[0].value.value,
            ast.literal_eval(call.args[0]) if isinstance(call.args[0], ast.Constant) else "module",
        )  # type: ignore[attr-defined]
        for call in calls
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "require"
    }


def test_every_extra_has_a_door_that_says_how_to_install_it(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        name: {re.split(r"[\[<>=]", one)[0] for one in needed}
        for name, needed in project["optional-dependencies"].items()
        if name not in ("dev", "docs")
    }
    found = doors(repository / "src" / "dhrd")
    assert {extra for extra, _ in found} == set(extras)
    for extra, module in found:
        name = module.partition(".")[0]
        assert DISTRIBUTIONS.get(name, name) in {*extras[extra], ""}, (extra, module)
