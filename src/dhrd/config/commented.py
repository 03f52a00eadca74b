"""Settings as a YAML file with a comment above each that gives its reason."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import yaml

from dhrd._text import escaped
from dhrd.config.load import resolve
from dhrd.config.schema import RunConfig
from dhrd.config.settings_yaml import SettingsDumper, represent_text

_WIDTH = 110


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting and its reason.

    Args:
        name: Dotted name, such as `data.train`.
        value: The value, as for YAML.
        why: The reason; "": no comment.
    """

    name: str
    value: object
    why: str = ""

    @property
    def section(self) -> str:
        """`data` for `data.train`; "" for `seed`."""
        return self.name.rpartition(".")[0]


def nested(settings: Sequence[Setting]) -> dict[str, Any]:
    """The settings as a nested mapping, by section."""
    tree: dict[str, Any] = {}
    for setting in settings:
        part = tree.setdefault(setting.section, {}) if setting.section else tree
        part[setting.name.rpartition(".")[2]] = setting.value
    return tree


def resolved(settings: Sequence[Setting]) -> RunConfig:
    """The settings as a checked `RunConfig`.

    Raises:
        ConfigError: A setting is unknown or invalid.
    """
    return resolve(nested(settings))


def to_yaml(settings: Sequence[Setting], *heading: str) -> str:
    """Format settings as commented YAML.

    Args:
        settings: The settings, those of a section next to each other.
        *heading: Comment lines at the top.
    """
    lines = list(_comment(heading, ""))
    for section, members in groupby(settings, key=lambda setting: setting.section):
        lines += [f"{section}:"] if section else []
        indent = "  " if section else ""
        for setting in members:
            lines += _comment([setting.why] if setting.why else [], indent)
            value = {setting.name.rpartition(".")[2]: setting.value}
            dumped = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
            lines += textwrap.indent(dumped, indent).splitlines()
    return "\n".join(lines) + "\n"


class _Dumper(SettingsDumper):
    """Writes multi-line text as a literal block instead of a quoted string."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    node = represent_text(dumper, text)
    node.style = node.style or ("|" if "\n" in text else None)
    return node


_Dumper.add_representer(str, _represent_text)


def _comment(texts: Sequence[str], indent: str) -> Iterator[str]:
    """Text as wrapped comment lines; parts of it may come from data, so it is escaped and cannot break out."""
    for part in (part for text in texts for part in text.splitlines()):
        for line in textwrap.wrap(" ".join(escaped(part).split()), _WIDTH, break_long_words=False):
            yield f"{indent}# {line}"
