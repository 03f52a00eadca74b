"""The tree of docs/architecture.md: every module with its docstring's first sentence.

    python scripts/tree.py            print it
    python scripts/tree.py --write    put it into the page

Read from the source alone (ast): nothing is imported, and no package but the standard library is needed.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "dhrd"
PAGE = ROOT / "docs" / "architecture.md"
START, END = "<!-- tree -->\n", "<!-- end of tree -->"


def tree(directory: Path = SOURCE, depth: int = 0) -> Iterator[str]:
    """A line for each module and, before its own, for each package: modules first, then packages, each by name."""
    for path in sorted(directory.glob("*.py")):
        if path.name != "__init__.py":
            yield _line(path.name, path, depth)
    for package in sorted(path for path in directory.iterdir() if (path / "__init__.py").is_file()):
        yield ""
        yield _line(f"{package.name}/", package / "__init__.py", depth)
        yield from tree(package, depth + 1)


def _line(name: str, path: Path, depth: int) -> str:
    """The name at its depth, and its docstring's first sentence."""
    start = f"{'    ' * depth}{name}".ljust(28) + " "
    phrase = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split())
    return (start + re.split(r"\.(?: |$)", phrase, maxsplit=1)[0]).rstrip()


def named(page: str) -> set[str]:
    """The paths of the modules that a page's tree names, below `src/dhrd`."""
    where: list[str] = []
    paths = set()
    for line in page.partition(START)[2].partition(END)[0].splitlines():
        match = re.match(r"((?:    )*)([\w.]+/?)", line)
        if match and (name := match[2]).endswith(("/", ".py")):
            del where[len(match[1]) // 4 :]
            if name.endswith("/"):
                where.append(name)
            else:
                paths.add("".join([*where, name]))
    return paths


if __name__ == "__main__":
    text = "\n".join(tree()).strip()
    if "--write" in sys.argv:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        PAGE.write_text(f"{before}{START}```\n{text}\n```\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    else:
        print(text)
