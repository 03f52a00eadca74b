"""Build a `RunConfig` from YAML, mappings and `--set`, reporting all errors at once."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TypeGuard, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dhrd._text import LONGEST_VALUE, clipped, message_of, shown
from dhrd.config.published import masked
from dhrd.config.retired import without_retired
from dhrd.config.schema import RunConfig
from dhrd.config.settings_yaml import MAX_VALUES, YAML_ERRORS, SettingsLoader
from dhrd.errors import ConfigError

# The DHRD documents' names of settings that have another name or section here.
_DOCUMENT_NAMES = {
    "model.dropout_prob": "model.dropout",
    "data.train_file": "data.train",
    "data.eval_file": "data.validation",
    "data.batch_size": "training.batch_size",
    "data.max_input_length": "data.max_input_tokens",
    "data.max_rationale_length": "data.max_sequence_tokens",
}
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_OF_ROWS = (".csv", ".gz", ".jsonl", ".parquet", ".tsv")
MAX_DEPTH = 20
MAX_PROBLEMS = 20
_ALPHA = "model.loss_weight_alpha"
_WEIGHTS = ("loss.classification_weight", "loss.reasoning_weight")


def load_config(
    path: str | Path | None = None, overrides: Iterable[str] = (), *, base: RunConfig | None = None, **settings: object
) -> RunConfig:
    """Read a configuration.

    Args:
        path: A YAML file; None: use `base`, or the defaults.
        overrides: Strings `section.key=value` with values in YAML (`null`, `1e-4`, `[a, b]`), applied in order.
        base: A config to start from if there is no file.
        **settings: Values by dotted name with `.` written as `__`, applied last
            (`training__num_epochs=1`).

    Returns:
        The validated, frozen configuration.

    Raises:
        ConfigError: The file is missing or not YAML, or settings are unknown or invalid; the message lists all of them.

    Example:
        >>> load_config(overrides=["training.num_epochs=1", "loss.reasoning_weight=0"]).training.num_epochs
        1
    """
    if path is not None:
        tree = _read_yaml(Path(path))
    else:
        tree = base.model_dump(mode="json", exclude_unset=True) if base is not None else {}
        if base is not None and base.teacher.extra_headers:  # which no file gets, since they may hold keys
            _override(tree, "teacher.extra_headers", dict(base.teacher.extra_headers))
    for text in overrides:
        _override(tree, *_parse_override(text))
    for name, value in settings.items():
        _override(tree, name.replace("__", "."), value)
    return resolve(tree, source=str(path) if path is not None else "the settings")


def resolve(tree: Mapping[str, object], *, source: str = "the settings") -> RunConfig:
    """Validate a nested mapping, which may use the DHRD documents' names, and return it as a `RunConfig`.

    Raises:
        ConfigError: Settings are unknown or invalid; the message lists all of them.
    """
    sections = set(RunConfig.model_fields) - {"output_dir", "seed"}
    # A section with every line commented out is null in YAML and means its defaults.
    tree = {name: {} if value is None and name in sections else value for name, value in tree.items()}
    if problem := _unfit(tree):
        raise ConfigError(f"{source}: {problem}")
    translated, problems = _translate(tree)
    try:
        config = RunConfig.model_validate(translated)
    except ValidationError as error:
        problems += [_describe(item) for item in error.errors() if not _is_of_another_branch(item)]
    if problems:
        lines = [f"{source}: {problem}" for problem in problems[:MAX_PROBLEMS]]
        if (more := len(problems) - MAX_PROBLEMS) > 0:
            lines.append(f"{source}: {more} more settings are invalid")
        raise ConfigError("\n".join(lines))
    return config


def _unfit(tree: object) -> str | None:
    """What is wrong with a tree regardless of the schema: too large (nested aliases), too deep, or invalid text."""
    open_values, count = [(tree, 0)], 0
    while open_values:
        value, depth = open_values.pop()
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            return f"more than {MAX_VALUES:,} values, or lists nested {MAX_DEPTH} deep; too many for settings"
        if isinstance(value, str) and _NO_TEXT.search(value):
            return f"{shown(value)} contains a NUL character or half a character, which no file can; leave it out"
        if isinstance(value, Mapping):
            open_values += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list | tuple | set):
            open_values += [(part, depth + 1) for part in value]
    return None


def _read_yaml(path: Path) -> dict[str, object]:
    if path.suffix.lower() in _OF_ROWS:
        raise ConfigError(f"{path} is a file of rows, but settings in YAML are expected; give `data.train={path}`")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or message_of(error)
        raise ConfigError(f"{path}: cannot be read ({reason}); give a YAML file of settings") from error
    try:
        tree = yaml.load(text, Loader=SettingsLoader)
    except YAML_ERRORS as error:
        where = getattr(error, "problem_mark", None)
        line = f"{path}:{where.line + 1}" if where is not None else str(path)
        raise ConfigError(f"{line}: not valid YAML: {_problem(error)}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: a config is a mapping of sections (model:, data:, …), not a {type(tree).__name__}")
    return tree


def _parse_override(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"`overrides` {text}: write it as section.key=value")
    if value.startswith("{{") or (
        len(value) == 1 and value in "|>#,;:&*-%@`\t"
    ):  # YAML would read it as something else
        return name.strip(), value
    try:
        return name.strip(), yaml.load(value, Loader=SettingsLoader)
    except YAML_ERRORS as error:
        raise ConfigError(
            f"`overrides` {clipped(masked(text), LONGEST_VALUE)}: the value is not valid YAML; put quotes around text: "
            f"{clipped(name, LONGEST_VALUE)}='…' ({_problem(error)})"
        ) from error


def _problem(error: BaseException) -> str:
    return getattr(error, "problem", None) or message_of(error)


def _override(tree: dict[str, object], dotted: str, value: object) -> None:
    """Set a value, and remove one that the file gives under another name of the same setting."""
    for names in _DOCUMENT_NAMES.items():
        if dotted in names:
            for name in names:
                _take(tree, name)
    if dotted == _ALPHA:
        for name in _WEIGHTS:
            _take(tree, name)
    elif dotted in _WEIGHTS and _is_share(alpha := _take(tree, _ALPHA)):
        for name, weight in zip(_WEIGHTS, (alpha, 1.0 - alpha), strict=True):
            _set(tree, name, weight)
    _set(tree, dotted, value)


def _set(tree: dict[str, object], dotted: str, value: object) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        child = tree.get(parent)
        if child is None or isinstance(child, bool):  # `lora: true`, then `lora.r: 4`
            child = tree[parent] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"{dotted}: {parent} is not a section of settings here, but {shown(child)}")
        tree = child
    tree[last] = value


def _translate(tree: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Rename the DHRD documents' settings to ours, and drop retired ones."""
    result, problems = without_retired(tree)
    for old, new in _DOCUMENT_NAMES.items():
        if (value := _take(result, old)) is not _ABSENT:
            if _has(result, new):
                problems.append(f"{old} and {new} are the same setting; give one of them")
            else:
                with suppress(ConfigError):  # the schema reports an invalid section
                    _set(result, new, value)
    if (alpha := _take(result, _ALPHA)) is not _ABSENT:
        if any(_has(result, name) for name in _WEIGHTS):
            problems.append(f"{_ALPHA} sets both weights of the loss; give it or loss.*_weight, not both")
        elif not _is_share(alpha):
            problems.append(f"{_ALPHA}: a number from 0 to 1, got {shown(alpha)}")
        else:
            with suppress(ConfigError):
                _set(result, _WEIGHTS[0], float(alpha))
                _set(result, _WEIGHTS[1], 1.0 - alpha)
    return result, problems


_ABSENT = object()


def _is_share(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _take(tree: dict[str, object], dotted: str) -> object:
    section, key = dotted.split(".")
    inner = tree.get(section)
    return inner.pop(key, _ABSENT) if isinstance(inner, dict) else _ABSENT


def _has(tree: Mapping[str, object], dotted: str) -> bool:
    section, key = dotted.split(".")
    inner = tree.get(section)
    return isinstance(inner, Mapping) and key in inner


def _is_of_another_branch(error: ErrorDetails) -> bool:
    """Whether pydantic tried a mapping as a literal (`class_weights: balanced`); errors in it have their own entry."""
    return error["type"] == "literal_error" and isinstance(error["input"], dict)


def _describe(error: ErrorDetails) -> str:
    """Format a pydantic error as `name: problem`, with a suggestion for an unknown name."""
    location = [str(part) for part in error["loc"]]
    name = ".".join(part for part in location if "[" not in part)  # pydantic's `dict[str,…]`, a branch of a union
    if error["type"] == "extra_forbidden":
        return f"{name}: unknown setting{_nearest(location)}"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error":
        return masked(f"{name}: {message}" if name else message)
    return f"{name}: {message[:1].lower()}{message[1:]}, got {masked(shown(error['input']))}{_hint(error, name)}"


def _hint(error: ErrorDetails, name: str) -> str:
    """A hint for text that YAML, or the dots of `--set`, turned into another type."""
    kind, given = error["type"], error["input"]
    if kind == "string_type" and isinstance(given, dict) and None in given.values():
        return "; YAML reads a colon at the end as the end of a key: put quotes around it"
    if kind == "string_type" and isinstance(given, bool):
        read = "yes, on and true" if given else "no, off and false"
        return f"; YAML reads {read} as a boolean: put quotes around it"
    if kind == "string_type" and not isinstance(given, dict | list):
        return "; put quotes around it"
    if kind == "tuple_type" and not isinstance(given, dict):
        return f'; give a list, with quotes around yes and no: {name}=["no", "yes"]'
    if kind in ("float_type", "string_type") and isinstance(given, dict):
        parent, _, key = name.rpartition(".")
        while isinstance(given, dict) and given:
            part, given = next(iter(given.items()))
            key = f"{key}.{part}"
        return f"; write a name with a dot in braces: {parent}={{{json.dumps(key)}: {masked(shown(given))}}}"
    return ""


def _nearest(location: list[str]) -> str:
    known = list(setting_names())
    dotted = ".".join(location)
    siblings = [name for name in known if name.rpartition(".")[0] == dotted.rpartition(".")[0]]
    for names, cutoff in (
        (siblings, 0.8),
        (known, 1.0),
        (siblings, 0.6),
        (known, 0.75),
    ):  # misspelt, or in another section
        by_last = {name.rpartition(".")[2]: name for name in reversed(names)}
        if close := difflib.get_close_matches(location[-1], by_last, n=1, cutoff=cutoff):
            return f"; did you mean {by_last[close[0]]}?"
    return f"; known are {', '.join(siblings) or 'none here'}"


def nearest_setting(word: str, sections: Iterable[str]) -> str | None:
    """The setting that a word most likely means, by a similar name or its section's (`data` means `data.train`).

    Args:
        word: An unknown option, without dashes.
        sections: Names of the sections to search.
    """
    names = [*setting_names(), ""]
    by_word = {old.partition(".")[2]: new for old, new in _DOCUMENT_NAMES.items()}
    for name, after in pairwise(names):
        is_section = "." not in name and after.startswith(f"{name}.")
        by_word.setdefault(name.rpartition(".")[2], after if is_section else name)
    near = {known: name for known, name in by_word.items() if name.partition(".")[0] in sections}
    close = difflib.get_close_matches(word, near, n=1, cutoff=0.7)
    return near[close[0]] if close else None


def setting_names(model: type[BaseModel] = RunConfig, prefix: str = "") -> Iterable[str]:
    """Yield the dotted names of all settings and sections."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from setting_names(kind, f"{prefix}{name}.")
