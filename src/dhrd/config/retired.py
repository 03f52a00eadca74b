"""Retired settings: files of earlier versions are accepted as long as they do not use one of them."""

from __future__ import annotations

from collections.abc import Mapping

from dhrd._text import shown

_RETIRED: Mapping[str, Mapping[str, object]] = {
    "model": {
        "reasoning_bottleneck": False,
        "bottleneck_tokens": 1,
        "bottleneck_share": 1.0,
        "bottleneck_start": 0.0,
    },
    "data": {"order": "reason_first"},
    "loss": {"alignment_weight": 0.0},
}
"""By section, the value that turned a setting off. None of them improved results (docs/results/README.md)."""


def without_retired(tree: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Copy settings without the retired ones.

    Args:
        tree: The settings, by section.

    Returns:
        The rest, and a problem for each retired setting that was in use.
    """
    rest = {key: dict(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
    problems: list[str] = []
    for section, retired in _RETIRED.items():
        if isinstance(inner := rest.get(section), dict):
            rest[section], used = split_retired(inner, retired)
            why = "is no longer supported, as it did not improve results; leave it out"
            problems += [f"{section}.{name}: {shown(value)} {why}" for name, value in used.items()]
    return rest, problems


def split_retired(
    given: Mapping[str, object], retired: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, object]]:
    """Split fields into the current ones and the retired ones that were in use.

    Args:
        given: Values by name.
        retired: By name, the value that turned it off.
    """
    used = {name: given[name] for name, idle in retired.items() if name in given and given[name] != idle}
    return {name: value for name, value in given.items() if name not in retired}, used
