"""The site: every page is in its navigation, every link leads somewhere, and the reference is that of the code."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

import dhrd
from dhrd.cli import app
from dhrd.config import RunConfig


@pytest.fixture
def docs(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return script("docs", repository, monkeypatch)


def script(name: str, repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of scripts/, imported."""
    monkeypatch.syspath_prepend(repository / "scripts")
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def pages(repository: Path) -> list[Path]:
    """Every page of the repository that people read."""
    places = "docs", "examples"
    return [*repository.glob("*.md"), *(path for place in places for path in (repository / place).rglob("*.md"))]


def test_every_page_is_in_the_navigation(docs: ModuleType, repository: Path) -> None:
    named = [name for _, section in docs.nav() for _, name in section]
    there = {path.relative_to(repository / "docs").as_posix() for path in (repository / "docs").rglob("*.md")}
    assert len(there) >= 30
    assert there - set(named) == set(), "name these pages in zensical.toml"
    assert set(named) - there == set(), "zensical.toml names pages that are not there"
    assert len(named) == len(set(named))
    sections = [name for name, _ in docs.nav()]
    assert sections == ["Get started", "Tutorials", "How-to", "Concepts", "Reference", "Results", "About"]


def test_every_link_leads_somewhere(docs: ModuleType, repository: Path) -> None:
    """Files and, in pages, headings; addresses elsewhere are not asked."""
    broken, seen = [], 0
    for page in pages(repository):
        text = page.read_text(encoding="utf-8")
        for target, anchor in docs.links(text):
            path = docs.resolved(page, target) if target else page
            if path is None:
                continue
            seen += 1
            known = docs.anchors(path.read_text(encoding="utf-8")) if path.suffix == ".md" and path.is_file() else set()
            if not path.exists() or (anchor and anchor not in known):
                broken.append(f"{page.relative_to(repository)}: {target}{'#' * bool(anchor)}{anchor}")
    assert broken == []
    assert seen >= 120


def test_links_and_headings_are_found(docs: ModuleType) -> None:
    page = (
        '# A `b` (c): d\n\n[x](y.md#z) `[no](code.md)`\n\n```sh\n# not one\n[no](code.md)\n```\n\n<img src="i.svg">\n'
    )
    assert docs.links(page) == [("y.md", "z"), ("i.svg", "")]
    assert docs.anchors(page) == {"a-b-c-d"}


def test_the_site_has_what_its_pages_link_to(
    docs: ModuleType, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staged as it is built from: pages, and the files outside of docs/ that they link to, as pages."""
    monkeypatch.setattr(docs, "STAGED", tmp_path / "docs")
    docs.stage()
    staged = list((tmp_path / "docs").rglob("*.md"))
    made = [path for path in staged if path.is_relative_to(tmp_path / "docs" / "files")]
    assert len(made) >= 20 and len(staged) - len(made) == len(list((repository / "docs").rglob("*.md")))
    for page in staged:
        if page.suffixes[-2:] == [".md"]:  # not of code, whose text may look like a link
            for target, _ in docs.links(page.read_text(encoding="utf-8")):
                path = docs.resolved(page, target)
                assert path is None or path.exists() or path.with_name(f"{path.name}.md").exists(), (page, target)


def test_the_reference_is_that_of_the_code(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = script("reference", repository, monkeypatch).pages()
    for name, text in made.items():
        page = repository / "docs" / "reference" / name
        assert page.read_text(encoding="utf-8") == text, "python scripts/reference.py --write"


def test_the_reference_is_complete(repository: Path) -> None:
    commands, settings, python = (
        (repository / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8")
        for name in ("commands", "settings", "python")
    )
    assert {f"## dhrd {command.name}" for command in app.registered_commands} <= set(commands.splitlines())
    assert set(re.findall(r"^## (\w+)$", python, re.M)) == set(dhrd.__all__)
    for section, field in RunConfig.model_fields.items():
        for name in getattr(field.annotation, "model_fields", {}):
            table = settings.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
            assert f"\n| `{name}` |" in table or f"\n## {section}.{name}\n" in settings


def test_commands_on_pages_have_the_flags_that_they_are_shown_with(repository: Path) -> None:
    seen = 0
    for page in pages(repository):
        for words in shown_commands(page.read_text(encoding="utf-8")):
            command, rest = found_command(words)
            known = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)}
            flags = {word.partition("=")[0].replace("_", "-") for word in rest if re.match(r"--[a-z]", word)}
            assert flags <= {*known, "--help"}, f"{page.relative_to(repository)}: {' '.join(words)}"
            seen += len(flags)
    assert seen >= 100


def shown_commands(text: str) -> Iterator[list[str]]:
    """The words of each `dhrd …` in a page's blocks of shell and indented code, its continued lines joined."""
    code = [*re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S), *re.findall(r"(?:^ {4}.*\n)+", text, re.M)]
    for line in re.sub(r"\\\n\s*", "", "\n".join(code)).splitlines():
        if match := re.match(r" *(?:[A-Z_]+=\S+ )?(dhrd [a-z].*)", line):
            yield shlex.split(match[1], comments=True)


def found_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that is called, and what follows its name."""
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def test_nothing_of_the_site_comes_from_elsewhere(repository: Path) -> None:
    """Built and read offline: no web font, no script or emoji of another server."""
    config = (repository / "zensical.toml").read_text(encoding="utf-8")
    assert re.search(r"^font = false", config, re.M)
    assert not re.search(r"emoji|mermaid|arithmatex|analytics|glightbox|https?://(?!localhost)", config)


def test_the_site_that_is_built(docs: ModuleType, repository: Path) -> None:
    """Every link of its pages leads to a file and a heading of it, and nothing is loaded from another server."""
    pytest.importorskip("zensical", reason="Zensical is not installed: pip install '.[docs]'")
    docs.main("build")
    seen = 0
    for page in docs.SITE.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(
            r"<(?:script|img|iframe)[^>]* src=\"?(?:https?:)?//|<link[^>]* href=\"?(?:https?:)?//", text
        ), page
        for target in re.findall(r"<a [^>]*href=\"([^\"]*)\"", text):
            path = docs.resolved(page, target.partition("#")[0])
            if path is not None and page.name != "404.html":
                seen += 1
                assert path.exists() or path.is_dir(), (page, target)
    assert seen >= 2000
    index = (docs.SITE / "llms.txt").read_text(encoding="utf-8")
    assert all((docs.SITE / target).is_file() for target, _ in docs.links(index))
    assert len(docs.links(index)) == sum(len(section) for _, section in docs.nav())
