"""Settings that there were: what an earlier version wrote is read, as long as it did not use one."""

from __future__ import annotations

from collections.abc import Mapping

from dhrd._text import shown

_NO_GAIN = "it was no better than without (docs/results/README.md)"
_RETIRED: Mapping[str, tuple[object, str]] = {"loss.alignment_weight": (0.0, _NO_GAIN)}
"""By dotted name: the value that changed nothing, and why it was taken out."""


def without_retired(tree: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Settings without those that are no more, and what was asked of these.

    Args:
        tree: By section.

    Returns:
        The rest, and a problem for each that had a value that changed something.
    """
    rest = {key: dict(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
    problems = []
    for name, (idle, why) in _RETIRED.items():
        section, _, key = name.partition(".")
        inner = rest.get(section)
        if isinstance(inner, dict) and key in inner and (value := inner.pop(key)) != idle:
            problems.append(f"{name}: {shown(value)} is no longer possible: {why}; leave it out")
    return rest, problems
