"""Which columns of rows are the text, the label, the rationale and the id: by their names, then by what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dhrd._text import shown
from dhrd.data.columns import WORDS_OF_TEXT, ColumnLook
from dhrd.data.templates import PLAIN, ROW, InputTemplate
from dhrd.errors import ConfigError, DataError

RoleName = Literal["label", "rationale", "id", "group", "input_text"]

_NAMES: Mapping[RoleName, tuple[str, ...]] = {
    "label": (
        *("label", "labels", "class", "category", "target", "gold", "intent", "sentiment", "topic", "outcome"),
        *("rating", "stars", "y"),
    ),
    "rationale": ("rationale", "explanation", "reasoning", "reason", "why", "cot", "thought"),
    "id": ("id", "uid", "uuid", "guid", "key", "idx", "index"),
    "group": (
        *(
            "group",
            "group_id",
            "customer_id",
            "client_id",
            "patient_id",
            "account_id",
            "user_id",
            "author_id",
            "case_id",
        ),
        *("conversation_id", "thread_id", "dialogue_id", "dialog_id", "session_id", "ticket_id"),
    ),
    "input_text": (
        *("input_text", "text", "input", "sentence", "content", "body", "message", "review", "comment", "document"),
        *("prompt", "utterance", "question", "title", "subject"),
    ),
}
"""Names of columns that say what they are, the plainest first; `true_label` and `label_name` say it too."""

_FEWEST_GROUPS = 10  # so that a tenth of the rows can be held out in whole groups
_MOST_LABELS = 100  # of a column that is no label by its name


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """The columns that are taken for one of our fields.

    Args:
        columns: The columns; several only if a template combines texts.
        why: In words: by its name, by what it holds, or as given.
        others: Columns that might as well have been taken.
        is_close: Whether a rule of thumb alone puts it before one of the others.
    """

    columns: tuple[str, ...]
    why: str
    others: tuple[str, ...] = ()
    is_close: bool = False


def find_roles(
    columns: Sequence[ColumnLook], given: Mapping[str, str], *, has_template: bool = False
) -> dict[str, Role]:
    """Choose the columns of each field.

    Args:
        columns: The result of `look_at_columns`.
        given: `data.columns`, which is used unchanged.
        has_template: Whether a template is given, so that no text column is searched for.

    Returns:
        Roles by field; a rationale, an id and a group only if there is one.

    Raises:
        ConfigError: A given column does not exist.
        DataError: No column can be the label, or the text.
    """
    names = {column.name for column in columns}
    if absent := [(name, column) for name, column in given.items() if column not in names]:
        name, column = absent[0]
        raise ConfigError(f"data.columns.{name}: there is no column {shown(column)}; the rows have {_listed(columns)}")
    roles: dict[str, Role] = {name: Role(columns=(column,), why="as given") for name, column in given.items()}
    free = [column for column in columns if not any(column.name in role.columns for role in roles.values())]
    for name in ("id", "group", "rationale", "label"):
        if name not in roles and (role := _FINDERS[name](free)) is not None:
            roles[name] = role
            free = [column for column in free if column.name not in role.columns]
    if "label" not in roles:
        raise DataError(
            f"no column looks like a label: the rows have {_listed(columns)}; name it: `data.columns.label=COLUMN`"
        )
    if not has_template and "input_text" not in roles:
        roles["input_text"] = _find_text(free, columns)
    return roles


def template_of(role: Role, columns: Sequence[ColumnLook]) -> str:
    """The input template that reads a role's columns: the text itself, or each under its name."""
    if len(role.columns) == 1:
        return PLAIN
    looks = {column.name: column for column in columns}
    template = "\n".join(f"{_in_template_text(name)}: {{{{ {_read(looks[name])} }}}}" for name in role.columns)
    InputTemplate(template)  # a name of a column cannot break it
    return template


def _in_template_text(name: str) -> str:
    return " ".join(name.replace("{", "(").replace("}", ")").replace("#", "").split())


def _read(column: ColumnLook) -> str:
    """How a template reads a column: one that any row looked at lacks may be absent, others may be empty at most."""
    name = column.name
    is_plain = name.isidentifier() and name.isascii() and name not in _RESERVED
    read = name if is_plain else f"row[{_quoted(name)}]"
    if column.is_always_filled:
        return read
    return f'{read} or ""' if column.num_present == column.num_rows else f"{read} | default('', true)"


_RESERVED = frozenset(
    ("and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None", "self", ROW)
)


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _find_label(columns: Sequence[ColumnLook]) -> Role | None:
    """By its name; else the column of the fewest values: codes of clerks, shops and places have more."""
    named = [column for column in _named("label", columns) if column.num_distinct > 1 or column.name == "label"]
    classes = [column for column in reversed(columns) if _holds_classes(column) and column not in named]
    classes = [column for column in classes if not column.is_date] or classes
    classes.sort(key=lambda column: (column.num_distinct, column.is_number))
    held = [column for column in classes if column.is_always_filled]
    if not held:  # some labels are missing: reading the rows reports where
        held = [column for column in classes if column.num_rows - column.num_filled <= max(1, column.num_rows // 10)]
    role = _first([*named, *held], "by its name" if named else f"by its {held[0].num_distinct} values" if held else "")
    if role is None:
        return None
    gaps = [column.name for column in classes if column not in held]  # of rows that nobody labelled
    is_close = len(named) > 1 and named[0].name != "label" if named else bool(role.others or gaps)
    return replace(role, others=(*role.others, *gaps), is_close=is_close)


def _holds_classes(column: ColumnLook) -> bool:
    """Few short values that come again and again, in most rows."""
    most = min(_MOST_LABELS, max(2, column.num_filled // 3))
    is_filled = 2 * column.num_filled > column.num_rows
    return column.is_label and is_filled and 1 < column.num_distinct <= most and column.mean_words < WORDS_OF_TEXT


def _find_rationale(columns: Sequence[ColumnLook]) -> Role | None:
    return _first([column for column in _named("rationale", columns) if column.reads_as_text], "by its name")


def _find_id(columns: Sequence[ColumnLook]) -> Role | None:
    keys = [column for column in columns if column.is_key and column.mean_words <= 1]
    unique = [column for column in keys if column.num_distinct == column.num_rows]
    named = list(_named("id", unique))
    texts = [*_named("input_text", columns), *_named("rationale", columns)]
    ahead = [column for column in columns[:1] if column in unique and column not in texts]
    own = [column for column in columns if column.name == "id"]  # read by this name, whatever it holds
    why = "first column, unique in each row" if ahead else "by its name, though not a different one in each row"
    return _first([*named, *ahead, *own], "by its name" if named else why, alone=True)


def _find_group(columns: Sequence[ColumnLook]) -> Role | None:
    """`group` itself, and other columns of whose values most have several rows, in `customer_id`'s usual spellings."""
    plain = {name.replace("_", ""): place for place, name in enumerate(_NAMES["group"])}
    spelled = {column.name: re.sub("[-_ ]", "", column.name).casefold() for column in columns}
    named = [column for column in columns if spelled[column.name] in plain]
    found = [column for column in named if column.name == "group" or _holds_groups(column)]
    found.sort(key=lambda column: plain[spelled[column.name]])
    return _first(found, "by its name: its rows stay on one side of a split and are drawn together for intervals")


def _holds_groups(column: ColumnLook) -> bool:
    return column.is_key and column.num_distinct >= _FEWEST_GROUPS and 2 * column.num_repeated > column.num_distinct


_FINDERS = {"id": _find_id, "group": _find_group, "rationale": _find_rationale, "label": _find_label}


def _find_text(columns: Sequence[ColumnLook], all_columns: Sequence[ColumnLook]) -> Role:
    """Our own name alone; else all columns of text; else the one of the longest."""
    own = [column for column in columns if column.name == "input_text" and column.is_text]
    if own:
        others = [column.name for column in columns if column.reads_as_text and column not in own]
        return Role(columns=("input_text",), why="by its name", others=tuple(others))
    named = [column for column in _named("input_text", columns) if column.is_text and not column.is_number]
    texts = [column for column in columns if column.reads_as_text or column in named]
    if len(texts) > 1:
        return Role(columns=tuple(column.name for column in texts), why="all columns that hold text")
    longest = sorted((column for column in columns if column.is_text), key=lambda column: -column.mean_words)
    role = _first([*texts, *longest], "by its name" if named else "by what it holds", alone=True)
    if role is None:
        raise DataError(
            f"no column holds text: the rows have {_listed(all_columns)}; name it: `data.columns.input_text=COLUMN`"
        )
    return role


def _first(candidates: Iterable[ColumnLook], why: str, *, alone: bool = False) -> Role | None:
    """The first of them, the others beside it unless they are no rivals."""
    names = list(dict.fromkeys(column.name for column in candidates))
    return Role(columns=(names[0],), why=why, others=() if alone else tuple(names[1:])) if names else None


def _named(role: RoleName, columns: Sequence[ColumnLook]) -> Iterator[ColumnLook]:
    """The columns whose names say that they are it, the plainest name first; `gold_label` after `label`."""
    for known in _NAMES[role]:
        yield from (column for column in columns if column.name.strip().casefold() == known)
    for known in _NAMES[role][:3]:
        for column in columns:
            parts = column.name.strip().casefold().replace("-", "_").replace(" ", "_").split("_")
            if len(parts) > 1 and known in parts:
                yield column


def _listed(columns: Iterable[ColumnLook]) -> str:
    return ", ".join(shown(column.name, 40) for column in columns) or "no columns"
