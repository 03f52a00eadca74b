"""YAML of settings: how numbers and text are read, what is rejected, and text that is written as it is read back."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from dhrd._text import shown

MAX_VALUES = 100_000
"""A file with more values is rejected: it can only come from nested aliases."""


def _refuse_set(loader: yaml.SafeLoader, node: yaml.Node) -> None:
    raise yaml.constructor.ConstructorError(
        problem="a !!set has no order; write a list, [a, b]", problem_mark=node.start_mark
    )


# What the parser can raise: its own errors, and Python's on values such as a date that does not exist, `!!int ""`,
# `!!bool abc`, an unhashable key, or brackets nested thousands deep.
YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class SettingsLoader(yaml.SafeLoader):
    """YAML 1.1 with three fixes: `5e-5` is a number; `010`, `1:30` and `1_0` stay text, as labels should, and do not
    become 8, 90 and 10 (numeric settings still parse the digits); a duplicate key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping; duplicate keys are an error."""
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue  # the base class rejects the former and resolves the latter, `<<: *anchor`
            key = self.construct_object(key_node, deep=deep)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {shown(key)} is given twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge the mappings named by `<<`."""
        super().flatten_mapping(node)
        if len(node.value) > MAX_VALUES:  # merges of merges
            raise yaml.constructor.ConstructorError(
                problem=f"more than {MAX_VALUES:,} values", problem_mark=node.start_mark
            )


class SettingsDumper(yaml.SafeDumper):
    """Quotes text that another reader of YAML 1.1 would read as something else, and what `SettingsLoader` would."""


SettingsLoader.add_constructor("tag:yaml.org,2002:set", _refuse_set)


def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Text as it is read back: the line breaks of YAML 1.1 alone are escaped, which are read as a space elsewhere."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _OTHER_BREAKS.search(text) else None)


SettingsDumper.add_representer(str, represent_text)
_OTHER_BREAKS = re.compile("[\x85\u2028\u2029]")
_INT = "tag:yaml.org,2002:int"
SettingsLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _INT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
SettingsLoader.add_implicit_resolver(_INT, re.compile(r"^-?(?:0|[1-9][0-9]*)$"), list("-0123456789"))
_WITH_EXPONENT = re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+$")
for _yaml in (SettingsLoader, SettingsDumper):
    _yaml.add_implicit_resolver("tag:yaml.org,2002:float", _WITH_EXPONENT, list("-+0123456789"))
