"""The script that measures the house: each figure sees what it is there to see."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "house.py"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["house"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


house = load_script()
Measure = Callable[..., dict[str, Any]]


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Figures by name of a package of these files; every module has its test unless `tested` says which do."""

    def measured(files: dict[str, str], tested: list[str] | None = None) -> dict[str, Any]:
        for name, text in files.items():
            (tmp_path / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "src" / name).write_text(text)
        for name in files if tested is None else tested:
            test = tmp_path / "unit" / Path(name).parent / f"test_{Path(name).name.lstrip('_')}"
            test.parent.mkdir(parents=True, exist_ok=True)
            test.touch()
        monkeypatch.setattr(house, "UNIT_TESTS", tmp_path / "unit")
        return {figure.name: figure for figure in house.figures(house.read(tmp_path / "src"))}

    return measured


def test_a_good_module_is_in_bounds(measure: Measure) -> None:
    figures = measure({"a.py": '"""A."""\n\n\ndef f(x: int) -> int:\n    """One more."""\n    return x + 1\n'})
    assert all(figure.holds for figure in figures.values())
    assert figures["longest function body"].value == 1, "the docstring is no body"


def test_long_files_and_bodies(measure: Measure) -> None:
    figures = measure({"a.py": "def f() -> None:\n" + "    f()\n" * 46 + "# \n" * 300, "b.py": "x = 1\n"})
    assert figures["longest file"].value == 347 and not figures["longest file"].holds
    assert figures["longest function body"].culprits()[0] == "a.py:1: f: 46"
    assert not figures["function body, p90"].holds


@pytest.mark.parametrize(
    "second", ["import dhrd.a", "def f():\n    from dhrd import a", "if x:\n    from dhrd.a import y"]
)
def test_cycles_wherever_the_import_stands(measure: Measure, second: str) -> None:
    figures = measure({"a.py": "from dhrd.b import x\n", "b.py": second, "c.py": "import dhrd.a\n"})
    assert figures["import cycles"].culprits() == ["dhrd.a dhrd.b"]


def test_any(measure: Measure) -> None:
    text = "from typing import Any\ndef f(x: dict[str, Any], y: Any) -> None: ...\n"
    figures = measure({"a.py": text + "# Any in a comment\n" * 98})
    assert figures["dict[str, Any]"].value == 1
    assert figures["Any in a thousand lines"].value == 20


def test_signatures(measure: Measure) -> None:
    seven = "def {}({}a, b, c, *, d, e, f, g): ...\n"
    figures = measure(
        {
            "a.py": seven.format("f", "self, ") + "def six(a, b, c, d, e, f, *args, **options) -> None: ...\n",
            "config/a.py": seven.format("g", ""),
        }
    )
    assert figures["functions with more than 6 parameters"].culprits() == ["a.py:1: f (7)"]
    assert figures["functions without return type"].value == 2


def test_public_names(measure: Measure) -> None:
    documented = 'class A:\n    """A."""\n    def f(self): ...\n    def _g(self): ...\n'
    figures = measure(
        {"a.py": documented + "def _private(): ...\n", "b.py": "class A: ...\n", "cli/c.py": "class A: ...\n"}
    )
    assert figures["public names without docstring"].culprits() == ["a.py:3: f", "b.py:1: A", "cli/c.py:1: A"]
    assert figures["public names in several files"].culprits() == ["A: a.py, b.py"]


def test_modules_without_a_test(measure: Measure) -> None:
    files = dict.fromkeys(("_a.py", "room/b.py", "room/c.py", "room/__init__.py"), "X = 1\n")
    figures = measure(files, tested=["_a.py", "room/b.py"])
    assert figures["modules without a unit test of their name"].culprits() == ["room/c.py"]


def test_flags_below_the_command_line(measure: Measure) -> None:
    text = '"""Of --a."""\nX = 1\n"""As --b."""\nY = f"give --device {X}"\nZ = "a -- b, --- c"\n'
    figures = measure({"a.py": text, "cli/b.py": 'X = "--device"\n'})
    assert figures["strings below cli/ that name a flag"].culprits() == ["a.py:4: 'give --device'"]


def test_the_reasons_name_modules_that_are_there() -> None:
    missing = [path for path in house.NOT_MIRRORED if not (house.SOURCE / path).is_file()]
    assert not missing
