"""The site: the pages of docs/, and the files of the repository that they link to, built by Zensical.

    python scripts/docs.py build    into build/site
    python scripts/docs.py serve    on http://localhost:8000

GitHub shows the same pages with the same links, so a page may link out of docs/; here such a file becomes a page.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS, CONFIG = ROOT / "docs", ROOT / "zensical.toml"
STAGED, SITE = ROOT / "build" / "docs", ROOT / "build" / "site"
SHOWN = "*.svg", "*.css", "*.js", "report.html", "plan.yaml"
"""What pages show and link to besides Markdown."""

_FENCE = re.compile(r"^(```+|~~~+).*?^\1[^\S\n]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"(\]\(|(?:src|srcset|href)=\")([^)\s\"#]*)(#[^)\s\"]*)?(?=[)\"])")
_LANGUAGES = {".py": "python", ".jinja": "jinja", ".yaml": "yaml", ".json": "json"}


def nav() -> list[tuple[str, list[tuple[str, str]]]]:
    """The site's sections, each with the titles and paths of its pages."""
    sections = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["project"]["nav"]
    return [
        (name, [entry for page in pages for entry in page.items()])
        for section in sections
        for name, pages in section.items()
    ]


def prose(text: str) -> str:
    """A page without its code."""
    return _CODE.sub("", _FENCE.sub("", text))


def links(text: str) -> list[tuple[str, str]]:
    """What a page links to, images too, those of code left out: the file or address, and the anchor without its #."""
    return [(target, anchor.removeprefix("#")) for _, target, anchor in _LINK.findall(prose(text))]


def resolved(path: Path, target: str) -> Path | None:
    """The file that a link of a page points to; None where it is an address, or an anchor alone."""
    is_address = "://" in target or target.startswith("mailto:")
    return None if not target or is_address else Path(os.path.normpath(path.parent / target))


def anchors(text: str) -> set[str]:
    """The names of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", _FENCE.sub("", text), re.MULTILINE)
    bare = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in bare}


def stage() -> None:
    """Copy the pages to build/docs; what they link to outside of docs/ becomes pages below `files/`."""
    shutil.rmtree(STAGED, ignore_errors=True)
    for pattern in SHOWN:
        for path in DOCS.rglob(pattern):
            _write(STAGED / path.relative_to(DOCS), path.read_text(encoding="utf-8"))
    waiting, staged = sorted(DOCS.rglob("*.md")), set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in staged:
            staged.add(path)
            text, has_links = _as_page(path)
            if has_links:
                waiting += _outside(path, text)
                text = _relinked(path, text)
            _write(_place(path), text)


def write_for_machines() -> None:
    """`llms.txt`, which says what each page is about, and each page as Markdown beside its HTML."""
    lines = ["# dhrd", "", f"> {_first_sentence((STAGED / 'index.md').read_text(encoding='utf-8'))}"]
    for section, pages in nav():
        lines += ["", f"## {section}", ""]
        for title, name in pages:
            text = (STAGED / name).read_text(encoding="utf-8")
            _write(SITE / name, text)
            lines.append(f"- [{title}]({name}): {_first_sentence(text)}")
    _write(SITE / "llms.txt", "\n".join(lines) + "\n")


def _first_sentence(text: str) -> str:
    """Of a page's first paragraph, without links."""
    paragraphs = (part.strip("\n") for part in _FENCE.sub("", text).split("\n\n"))
    first = next((part for part in paragraphs if re.match(r"[A-Za-z*`\[]", part)), "")
    flat = re.sub(r"\[([^\]]*)\]\([^)]*\)|\*\*", r"\1", " ".join(first.split()))
    return re.split(r"(?<=[.?]) ", flat, maxsplit=1)[0]


def _outside(path: Path, text: str) -> Iterator[Path]:
    """The files and directories outside of docs/ that a page links to."""
    for target, _ in links(text):
        linked = resolved(path, target)
        if linked is not None and not linked.is_relative_to(DOCS) and linked.exists():
            yield linked


def _place(path: Path) -> Path:
    """Where a page is staged."""
    if path.is_relative_to(DOCS):
        return STAGED / path.relative_to(DOCS)
    name = path.relative_to(ROOT)
    return STAGED / "files" / (name if name.suffix == ".md" else name.with_name(f"{name.name}.md"))


def _as_page(path: Path) -> tuple[str, bool]:
    """A file as Markdown, and whether it has links: itself, a directory's list, or its text as code."""
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8"), True
    title = f"# {path.relative_to(ROOT)}\n\n"
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir() if entry.name[0] not in "._")
        return title + "".join(f"- [{name}]({path.name}/{name})\n" for name in names), True
    language = _LANGUAGES.get(path.suffix, "text")
    return f"{title}````{language}\n{path.read_text(encoding='utf-8').rstrip()}\n````\n", False


def _relinked(path: Path, text: str) -> str:
    """A page with its links as they are where it is staged."""

    def turned(match: re.Match[str]) -> str:
        linked = resolved(path, match[2])
        if linked is None or not linked.exists():
            return match[0]
        return match[1] + os.path.relpath(_place(linked), _place(path).parent) + (match[3] or "")

    return _LINK.sub(turned, text)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main(command: str) -> None:
    stage()
    zensical = [sys.executable, "-m", "zensical", command, "--config-file", str(CONFIG)]
    subprocess.run([*zensical, "--strict"] if command == "build" else zensical, check=True, cwd=ROOT)
    if command == "build":
        write_for_machines()


if __name__ == "__main__":
    main(*sys.argv[1:])
