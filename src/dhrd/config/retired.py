"""Settings that there were: what an earlier version wrote is read, as long as it did not use one."""

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
"""By section: the value that changed nothing. Each setting was no better than without (docs/results/README.md)."""


def without_retired(tree: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """A copy of settings without those that are no more, and what was asked of these.

    Args:
        tree: By section.

    Returns:
        The rest, and a problem for each that had a value that changed something.
    """
    rest = {key: dict(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
    problems: list[str] = []
    for section, retired in _RETIRED.items():
        if isinstance(inner := rest.get(section), dict):
            rest[section], used = split_retired(inner, retired)
            why = "is no longer possible, for it was no better than without; leave it out"
            problems += [f"{section}.{name}: {shown(value)} {why}" for name, value in used.items()]
    return rest, problems


def split_retired(
    given: Mapping[str, object], retired: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, object]]:
    """Fields without the retired ones, and those of the retired that had a value that changed something.

    Args:
        given: By name.
        retired: By name, the value that changed nothing.
    """
    used = {name: given[name] for name, idle in retired.items() if name in given and given[name] != idle}
    return {name: value for name, value in given.items() if name not in retired}, used
