"""The pages of docs/reference, from the code: commands from Typer, settings from the schema, names from docstrings.

    python scripts/reference.py            say which pages are old
    python scripts/reference.py --write    write them

Nothing here imports torch: the public names are read from their source.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

ROOT = Path(__file__).resolve().parent.parent
SOURCE, PAGES = ROOT / "src", ROOT / "docs" / "reference"
_MADE = "<!-- made by scripts/reference.py; do not edit -->"
_SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Example):\n", re.MULTILINE)
_TITLES = {"Args": "Arguments"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def pages() -> dict[str, str]:
    """Each page's text by its file's name."""
    sys.path.insert(0, str(SOURCE))
    return {"commands.md": commands(), "settings.md": settings(), "python.md": python()}


def commands() -> str:
    """Every command, with its arguments and flags."""
    from dhrd.cli import app

    parts = [
        f"# Command line\n\n{_MADE}\n\nEvery command and flag of `dhrd`. A flag may be written with `-` or `_`; a flag "
        "that is also a setting names it in brackets, and `--set section.key=value` reaches "
        "[every setting](settings.md). A command ends with 0 (done), 1 (failed), 2 (the input is wrong, and the "
        "message says how to fix it), 3 (a limit that you set) or 130 (Ctrl-C)."
    ]
    parts += [_command(name, command) for name, command in _commands("dhrd", typer.main.get_command(app))]
    return "\n\n".join(parts) + "\n"


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command, or those of a group, by name."""
    if not hasattr(command, "commands"):
        yield name, command
    else:
        for part in sorted(command.commands):
            yield from _commands(f"{name} {part}", command.commands[part])


def _command(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name)
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    usage = " ".join([name, *(_upper(one) if one.required else f"[{_upper(one)}]" for one in arguments)])
    rows = [_parameter(param, context) for param in command.params]
    table = "\n".join(["| flag | default | meaning |", "|---|---|---|", *rows]) if rows else ""
    return f"## {name}\n\n{textwrap.dedent(command.help or '').strip()}\n\n    {usage} [OPTIONS]\n\n{table}".rstrip()


def _upper(argument: Any) -> str:
    return str(argument.metavar or argument.name).upper()


def _parameter(param: Any, context: Any) -> str:
    names, about = param.get_help_record(context)
    names = re.sub(r"<(?:list\[)?(\w+)(?: range)?\]?>", lambda match: match[1].upper(), names)
    if param.param_type_name == "argument":
        names = _upper(param)
    about = re.sub(r"  \[(default: .*|required)\]$", "", about)
    default = "needed" if param.required else _default(param.default)
    return f"| `{_cell(names)}` | {default} | {_cell(about)} |"


def _default(value: Any) -> str:
    return "" if value in (None, False, (), [], {}) else f"`{_cell(str(value))}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def settings() -> str:
    """Every setting with its type, its default and what it means."""
    from dhrd.config import RunConfig

    schema = RunConfig.model_json_schema()
    parts = [
        f"# Settings\n\n{_MADE}\n\nThe settings of a run: a YAML file has them by section (`--config`), and "
        "`--set section.key=value` overrides one. `dhrd config show` prints them resolved, `dhrd config schema` as "
        "JSON schema. From Python: `dhrd.load_config`."
    ]
    parts += _section("", schema, schema["$defs"])
    return "\n\n".join(parts) + "\n"


def _section(name: str, schema: dict[str, Any], known: dict[str, Any]) -> Iterator[str]:
    """A section's table, then those of the sections within it."""
    rows, within = [], []
    for key, field in schema["properties"].items():
        if reference := _reference(field):
            within.append((f"{name}.{key}".lstrip("."), known[reference]))
        else:
            cells = f"`{_cell(_value(field.get('default')))}`", _cell(_type(field)), _cell(field.get("description", ""))
            rows.append(f"| `{key}` | {' | '.join(cells)} |")
    about = schema.get("description", "") if name else "Of the run as a whole; the sections follow."
    table = ["| setting | default | value | meaning |", "|---|---|---|---|", *rows]
    yield "\n".join([f"## {name or 'The run'}", "", about, "", *table])
    for part, inner in within:
        yield from _section(part, inner, known)


def _reference(field: dict[str, Any]) -> str | None:
    """The section that a field is, or may be."""
    for part in (field, *field.get("anyOf", ())):
        if "$ref" in part:
            return str(part["$ref"].rpartition("/")[2])
    return None


def _value(value: Any) -> str:
    """A default, as YAML has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _type(field: dict[str, Any]) -> str:
    """A JSON schema's type in words."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(part) for part in field["anyOf"]))
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    names = {
        "integer": "whole number",
        "string": "text",
        "array": "list",
        "object": "mapping",
        "boolean": "true or false",
    }
    bounds = {"minimum": "from", "exclusiveMinimum": "over", "maximum": "to", "exclusiveMaximum": "below"}
    limits = [f"{word} {field[key]:g}" for key, word in bounds.items() if key in field and field[key] < 2**31 - 1]
    return " ".join([names.get(field.get("type", ""), field.get("type", "anything")), *limits])


def python() -> str:
    """Every public name with its signature and docstring."""
    tree = ast.parse((SOURCE / "dhrd" / "__init__.py").read_text(encoding="utf-8"))
    where = next(ast.literal_eval(node.value) for node in tree.body if _assigns(node, "_WHERE"))
    parts = [
        f"# Python\n\n{_MADE}\n\nWhat `dhrd` exports. `import dhrd` loads nothing else until a name is used. "
        "Signatures leave out the types; each argument's meaning is below it."
    ]
    for name in sorted(where, key=str.lower):
        parts.append(_name(name, _found(where[name], name), where[name]))
    return "\n\n".join(parts) + "\n"


def _assigns(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets)


def _found(module: str, name: str) -> Function | ast.ClassDef:
    """A function or class by name; one that a package takes from a module of its own, there."""
    path = SOURCE.joinpath(*module.split("."))
    body = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")).body
    for node in body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return _found(str(node.module), name)
    # Of a function with overloads the last is the one that is run.
    return [node for node in body if isinstance(node, Function | ast.ClassDef) and node.name == name][-1]


def _name(name: str, node: Function | ast.ClassDef, module: str) -> str:
    parts = [f"## {name}", f"`{module}`"]
    if isinstance(node, Function):
        return "\n\n".join([*parts, _code(f"dhrd.{name}", node), _docstring(node)])
    parts.append(_docstring(node))
    for method in node.body:
        if isinstance(method, Function) and _is_shown(method):
            parts += [f"### {name}.{method.name}", _code(f"{name}.{method.name}", method), _docstring(method)]
    return "\n\n".join(part for part in parts if part)


def _is_shown(method: Function) -> bool:
    is_setter = any(isinstance(one, ast.Attribute) for one in method.decorator_list)
    is_overload = any(isinstance(one, ast.Name) and one.id == "overload" for one in method.decorator_list)
    return not method.name.startswith("_") and not is_setter and not is_overload and bool(ast.get_docstring(method))


def _code(name: str, function: Function) -> str:
    """The call, types left out."""
    decorators = {one.id for one in function.decorator_list if isinstance(one, ast.Name)}
    if "property" in decorators:
        return f"```python\n{name}\n```"
    bare = function.args
    for argument in (*bare.posonlyargs, *bare.args, *bare.kwonlyargs, bare.vararg, bare.kwarg):
        if argument is not None:
            argument.annotation = None
    bare.args = [one for one in bare.args if one.arg not in ("self", "cls")]
    call = f"{name}({ast.unparse(bare)})"
    if len(call) > 100:
        call = call.replace("(", "(\n    ", 1).replace(", ", ",\n    ")[:-1] + ",\n)"
    return f"```python\n{call}\n```"


def _docstring(node: Function | ast.ClassDef) -> str:
    """A docstring as Markdown: its sections as lists."""
    parts = _SECTION.split(ast.get_docstring(node) or "")
    text = [parts[0].strip()]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        inner, after = _indented(body)
        text += [f"**{_TITLES.get(title, title)}**", _listed(inner) if title != "Example" else _example(inner), after]
    return "\n\n".join(part for part in text if part)


def _indented(body: str) -> tuple[str, str]:
    """What belongs to a section, and what follows it."""
    match = re.search(r"^(?=\S)", body, re.MULTILINE)
    end = match.start() if match else len(body)
    return textwrap.dedent(body[:end]).strip("\n"), body[end:].strip()


def _listed(text: str) -> str:
    """`name: meaning` lines as a list; what has no names as it is."""
    entries = [" ".join(entry.split()) for entry in re.split(r"\n(?=\S)", text)]
    named = [re.match(r"(\*{0,2}\w+): (.*)", entry) for entry in entries]
    if not all(named):
        return "\n".join(textwrap.dedent(text).splitlines())
    return "\n".join(f"- `{match[1]}`: {match[2]}" for match in named if match)


def _example(text: str) -> str:
    return text if "```" in text else f"```python\n{text}\n```"


if __name__ == "__main__":
    made = pages()
    old = [name for name, text in made.items() if not (PAGES / name).is_file() or (PAGES / name).read_text() != text]
    if "--write" in sys.argv:
        for name in old:
            (PAGES / name).write_text(made[name], encoding="utf-8")
    elif old:
        sys.exit(f"docs/reference: {', '.join(old)}: old; python scripts/reference.py --write")
