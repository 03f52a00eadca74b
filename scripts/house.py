"""The house's figures and their bounds: `python scripts/house.py` prints each and fails where one is out of bounds.

Read from the source alone (ast): nothing is imported, and no package but the standard library is needed.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "dhrd"
UNIT_TESTS = ROOT / "tests" / "unit"

SETTINGS = ("config/", "cli/")
"""Where a function or class takes as many parameters as there are settings."""

_STUDIES = ("ablation", "baselines", "data_scale", "main", "schedules", "throughput", "weights")
NOT_MIRRORED: dict[str, str] = {
    f"experiments/studies/{name}.py": "data alone; test_studies.py looks at every study" for name in _STUDIES
}
"""Modules without a unit test of their name, and why."""

FLAGS_OF_OTHERS = re.compile(r"vllm serve DIR --runner")
"""What the model card tells of another program's command line."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """A source file: its path below `src/dhrd`, its lines and its syntax tree."""

    path: str
    lines: list[str]
    tree: ast.Module

    @property
    def name(self) -> str:
        """`dhrd.data.rows`."""
        return ".".join(["dhrd", *Path(self.path).with_suffix("").parts]).removesuffix(".__init__")

    def functions(self) -> Iterator[Function]:
        """Every function and method."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def public(self) -> Iterator[Function | ast.ClassDef]:
        """Public functions, classes and methods of public classes."""
        for node in self.tree.body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                yield node
                if isinstance(node, ast.ClassDef):
                    yield from (m for m in node.body if _is_public_method(m))


def body_lines(function: Function) -> int:
    """Lines of a function's body, its docstring left out."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def quantile(values: list[int], share: float) -> int:
    """The least value that `share` of them do not exceed; 0 of none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0


def imports(module: Module, names: set[str]) -> set[str]:
    """Modules of the package that this one imports, wherever in the file and under TYPE_CHECKING too."""
    imported: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                imported.add(whole if whole in names else node.module)
        elif isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
    return (imported & names) - {module.name}


def cycles(modules: list[Module]) -> list[str]:
    """Groups of modules that import each other (strongly connected components of two and more)."""
    names = {module.name for module in modules}
    graph = {module.name: imports(module, names) for module in modules}

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        stack = [start]
        while stack:
            for name in graph[stack.pop()] - seen:
                seen.add(name)
                stack.append(name)
        return seen

    reach = {name: reachable(name) for name in graph}
    return sorted(
        {" ".join(sorted(n for n in reach[name] if name in reach[n])) for name in graph if name in reach[name]}
    )


def num_parameters(function: Function) -> int:
    """Parameters of a function, `self`, `cls`, `*args` and `**options` left out."""
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def flags(module: Module) -> list[str]:
    """Strings that name a flag of the command line, docstrings left out."""
    documented = (ast.Module, ast.ClassDef, *Function.__args__)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(module.tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    } | {
        id(node.value) for node in ast.walk(module.tree) if isinstance(node, ast.Expr) and _is_text(node.value)
    }  # a bare string after an assignment documents it
    return [
        f"{module.path}:{node.lineno}: {node.value.strip()[:60]!r}"
        for node in ast.walk(module.tree)
        if _is_text(node)
        and id(node) not in docstrings
        and re.search(r"(?<![\w-])--[a-z]", FLAGS_OF_OTHERS.sub("", node.value))
    ]


def _is_public_method(node: ast.stmt) -> bool:
    """Setters left out: the property before them has the docstring."""
    return (
        isinstance(node, Function)
        and not node.name.startswith("_")
        and not any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list)
    )


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def repeated_names(modules: list[Module]) -> list[str]:
    """Public top-level functions and classes whose name stands in several files (the command line's own left out)."""
    where: defaultdict[str, list[str]] = defaultdict(list)
    for module in modules:
        if not module.path.startswith("cli/"):
            for node in module.tree.body:
                if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                    where[node.name].append(module.path)
    return [f"{name}: {', '.join(paths)}" for name, paths in sorted(where.items()) if len(paths) > 1]


def without_test(modules: list[Module]) -> list[str]:
    """Modules that have neither a unit test of their name nor a reason."""
    return [
        module.path
        for module in modules
        if not module.path.endswith("__init__.py")
        and module.path not in NOT_MIRRORED
        and not (UNIT_TESTS / Path(module.path).parent / f"test_{Path(module.path).stem.lstrip('_')}.py").is_file()
    ]


def undocumented(modules: list[Module]) -> list[str]:
    """Public names without a docstring."""
    return [
        f"{m.path}:{node.lineno}: {node.name}" for m in modules for node in m.public() if not ast.get_docstring(node)
    ]


def untyped(modules: list[Module]) -> list[str]:
    """Functions without a return type."""
    return [f"{m.path}:{f.lineno}: {f.name}" for m in modules for f in m.functions() if f.returns is None]


def long_signatures(modules: list[Module]) -> list[str]:
    """Functions of more than six parameters, outside the settings."""
    return [
        f"{m.path}:{f.lineno}: {f.name} ({num_parameters(f)})"
        for m in modules
        if not m.path.startswith(SETTINGS)
        for f in m.functions()
        if num_parameters(f) > 6
    ]


def occurrences(modules: list[Module], pattern: str) -> int:
    """How often a pattern stands in the code, comments and docstrings included."""
    return sum(len(re.findall(pattern, line)) for module in modules for line in module.lines)


def any_names(modules: list[Module]) -> int:
    """How often `Any` is written as a type."""
    return sum(isinstance(n, ast.Name) and n.id == "Any" for m in modules for n in ast.walk(m.tree))


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, the most it may be, and what to look at where it is more."""

    name: str
    value: float
    bound: float
    culprits: Callable[[], list[str]] = list

    @property
    def holds(self) -> bool:
        """Whether it is in bounds."""
        return self.value <= self.bound


def figures(modules: list[Module]) -> list[Figure]:
    """All figures of the source."""
    num_lines = sum(len(module.lines) for module in modules)
    bodies = Counter({f"{m.path}:{f.lineno}: {f.name}": body_lines(f) for m in modules for f in m.functions()})
    files = Counter({module.path: len(module.lines) for module in modules})
    lists = {
        "import cycles": (cycles(modules), 0),
        "functions with more than 6 parameters": (long_signatures(modules), 15),
        "public names without docstring": (undocumented(modules), 0),
        "functions without return type": (untyped(modules), 0),
        "public names in several files": (repeated_names(modules), 0),
        "modules without a unit test of their name": (without_test(modules), 0),
        "strings below cli/ that name a flag": (
            [flag for module in modules if not module.path.startswith("cli/") for flag in flags(module)],
            0,
        ),
    }
    return [
        Figure("lines of src", num_lines, float("inf")),
        Figure("longest file", max(files.values()), 340, lambda: [f"{n}: {c}" for n, c in files.most_common(5)]),
        Figure("function body, p90", quantile(list(bodies.values()), 0.9), 18),
        Figure(
            "longest function body",
            max(bodies.values(), default=0),
            45,
            lambda: [f"{n}: {c}" for n, c in bodies.most_common(5)],
        ),
        Figure("dict[str, Any]", occurrences(modules, r"dict\[str, Any\]"), 99),
        Figure("Any in a thousand lines", round(1000 * any_names(modules) / num_lines, 1), 12),
        *(
            Figure(name, len(culprits), bound, lambda culprits=culprits: culprits)
            for name, (culprits, bound) in lists.items()
        ),
    ]


def read(source: Path = SOURCE) -> list[Module]:
    """The modules of the package."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(source.rglob("*.py"))}
    return [Module(path.relative_to(source).as_posix(), t.splitlines(), ast.parse(t)) for path, t in texts.items()]


def main() -> int:
    """Print the figures; 1 where one is out of bounds, with its culprits."""
    measured = figures(read())
    for figure in measured:
        print(f"{'  ' if figure.holds else '! '}{figure.name:45} {figure.value:>8g}   at most {figure.bound:g}")
        if not figure.holds:
            print("\n".join(f"      {culprit}" for culprit in figure.culprits()))
    return 0 if all(figure.holds for figure in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
