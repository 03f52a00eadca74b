"""The package as it would be published: what is in it, what it says of itself, and that it works once installed."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from dhrd import __version__
from helpers.artifacts import save_tiny
from helpers.runs import environment, read_jsonl

_BUILD = "import setuptools.build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')"


def run(*command: object, **options: object) -> str:
    """A process without this checkout on its path; what it said on stdout."""
    env = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=env, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def dist(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution and the wheel, built from a copy of what is in the repository."""
    copy = tmp_path_factory.mktemp("clone")
    for name in ("src", "tests"):
        shutil.copytree(repository / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, copy / name)
    run(sys.executable, "-c", _BUILD, cwd=copy)
    (sdist,), (wheel,) = ((copy / "dist").glob(pattern) for pattern in ("*.tar.gz", "*.whl"))
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(dist: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel alone; torch and its like are seen from this one."""
    place = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", place)
    (library,) = place.glob("lib/python*/site-packages")
    (library / "seen.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", place / "bin" / "python", "--disable-pip-version-check")
    run(*pip, "install", "--no-deps", "--no-index", dist[1])
    return place / "bin"


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_has_the_package_with_its_data_and_nothing_else(dist: tuple[Path, Path], repository: Path) -> None:
    source = repository / "src"
    ours = [path for path in (source / "dhrd").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {str(path.relative_to(source)) for path in ours}
    assert {Path(name).suffix for name in expected} == {".py", ".jinja", ".html", ".json", ".typed"}
    with zipfile.ZipFile(dist[1]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == expected


def test_the_source_distribution_builds_and_has_no_tests(dist: tuple[Path, Path]) -> None:
    with tarfile.open(dist[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "src/dhrd/__init__.py", "src/dhrd/serving/page.html"} <= names
    assert not [name for name in names if name.startswith("tests")]


def test_what_it_says_of_itself(dist: tuple[Path, Path], repository: Path) -> None:
    told = metadata(dist[1])
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (told["Name"], told["Version"], told["Requires-Python"]) == ("dhrd", __version__, ">=3.11")
    assert (told["License-Expression"], told["License-File"]) == ("MIT", "LICENSE")
    assert told["Description-Content-Type"] == "text/markdown"
    assert told.get_all("Project-URL") == [f"{name}, {url}" for name, url in project["urls"].items()]
    assert set(told.get_all("Provides-Extra") or []) == set(project["optional-dependencies"])
    python = "Programming Language :: Python :: 3."
    versions = [name for name in told.get_all("Classifier") or [] if name.startswith(python)]
    assert versions == [f"{python}{minor}" for minor in (11, 12, 13)]


def test_it_is_imported_from_where_it_was_installed(installed: Path) -> None:
    path, version = run(installed / "python", "-c", "import dhrd; print(dhrd.__file__, dhrd.__version__)").split()
    assert Path(path).is_relative_to(installed.parent)
    assert version == __version__
    assert run(installed / "dhrd", "--version") == f"dhrd {__version__}\n"
    assert "From rows to a classifier in use:" in run(installed / "dhrd", "--help")


def test_it_labels_rows(installed: Path, tmp_path: Path) -> None:
    artifact = save_tiny(tmp_path / "model")
    said = run(
        *(installed / "dhrd", "predict", "--model", artifact, "--input", artifact.with_suffix(".jsonl")),
        *("--output", tmp_path / "out.jsonl", "--device", "cpu"),
    )
    assert said == f"3 rows are in {tmp_path / 'out.jsonl'}\n"
    assert {row["label"] for row in read_jsonl(tmp_path / "out.jsonl")} <= {"bill", "login", "mail"}


def test_what_is_shipped_is_found(installed: Path) -> None:
    """The page, the templates and the small backbone, each by the code that reads it."""
    script = (
        "import os; from dhrd.model.location import locate; from dhrd.serving.page import page_text\n"
        "place = locate('scratch:package:dhrd/experiments/desk_llama/config.json')\n"
        "print(len(page_text()) > 1000, os.listdir(place['pretrained_model_name_or_path']))"
    )
    said = run(installed / "python", "-c", script, cwd=os.sep)
    assert said.startswith("True ") and "tokenizer.json" in said
