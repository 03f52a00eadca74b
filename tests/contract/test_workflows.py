"""What runs beside a push and a release: commands that there are, on the versions that the package promises."""

from __future__ import annotations

import re
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version


@pytest.fixture(scope="module")
def jobs(repository: Path) -> dict[str, Any]:
    """The jobs of all workflows by `file/name`."""
    found = {}
    for path in sorted((repository / ".github" / "workflows").glob("*.yml")):
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        found |= {f"{path.stem}/{name}": job for name, job in tree["jobs"].items()}
    return found


def test_tests_run_on_every_version_that_is_promised(jobs: dict[str, Any], repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert jobs["ci/tests"]["strategy"]["matrix"]["python-version"] == promised
    assert project["requires-python"] == f">={promised[0]}"


def test_the_lowest_versions_are_those_that_are_promised(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = re.search(r"^test-lowest:.*?\.\[([\w,]+)\]", (repository / "Makefile").read_text("utf-8"), re.M | re.S)
    assert installed is not None
    extras = [project["optional-dependencies"][name] for name in installed[1].split(",")]
    bounds = {}
    for dependency in map(Requirement, [*project["dependencies"], *chain.from_iterable(extras)]):
        [bound] = dependency.specifier
        assert bound.operator == ">=", f"{dependency}: no lower bound"
        bounds[dependency.name] = Version(bound.version)
    lines = (repository / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {name: Version(version) for name, version in pinned.items()} == bounds and len(bounds) > 25


def test_every_target_of_make_is_one(jobs: dict[str, Any], repository: Path) -> None:
    assert {"ci/lint", "ci/tests", "ci/lowest", "ci/docs", "ci/build", "release/build", "release/publish"} == set(jobs)
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = {target for command in commands for target in re.findall(r"make ([\w-]+)", command)}
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    assert targets >= {"lint", "setup"}
    known = {name for line in re.findall(r"^([\w -]+):", makefile, re.MULTILINE) for name in line.split()}
    assert targets - known == set()


def test_every_extra_that_make_installs_is_one(repository: Path) -> None:
    extras = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    installed = re.findall(r"'\.\[([\w,]+)\]'", (repository / "Makefile").read_text(encoding="utf-8"))
    names = {name for names in installed for name in names.split(",")}
    assert len(installed) == 2 and {"dev", "serve"} <= names <= set(extras)


def test_actions_of_others_are_pinned_by_their_commit(jobs: dict[str, Any]) -> None:
    uses = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    others = [one for one in uses if not one.startswith("actions/")]
    assert len(uses) > 10 and others
    assert [one for one in others if not re.search(r"@[0-9a-f]{40}$", one)] == []
    assert [one for one in uses if one not in others and not re.search(r"@v\d+$", one)] == []


def test_a_release_needs_no_secret_and_publishes_what_was_checked(jobs: dict[str, Any]) -> None:
    publish = jobs["release/publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["needs"] == "build"
    uses = [step["uses"] for step in publish["steps"]]
    assert [one.partition("@")[0] for one in uses] == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]
    assert "secrets." not in str(jobs)
