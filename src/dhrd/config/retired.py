"""Settings that there were: what an earlier version wrote is read, as long as it did not use one."""

from __future__ import annotations

from collections.abc import Mapping

from dhrd._text import shown

_RETIRED: Mapping[str, object] = {
    "loss.alignment_weight": 0.0,
    "model.reasoning_bottleneck": False,
    "model.bottleneck_tokens": 1,
    "model.bottleneck_share": 1.0,
    "model.bottleneck_start": 0.0,
    "data.order": "reason_first",
}
"""By dotted name: the value that changed nothing. Each was no better than without (docs/results/README.md)."""


def without_retired(tree: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Settings without those that are no more, and what was asked of these.

    Args:
        tree: By section.

    Returns:
        The rest, and a problem for each that had a value that changed something.
    """
    rest = {key: dict(value) if isinstance(value, Mapping) else value for key, value in tree.items()}
    problems = []
    for name, idle in _RETIRED.items():
        section, _, key = name.partition(".")
        inner = rest.get(section)
        if isinstance(inner, dict) and key in inner and (value := inner.pop(key)) != idle:
            problems.append(
                f"{name}: {shown(value)} is no longer possible, for it was no better than without; leave it out"
            )
    return rest, problems
