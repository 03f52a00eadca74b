"""What must be equal for a run to go on: all that decides its weights, and what they are chosen by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from dhrd._text import shown
from dhrd.config import RunConfig
from dhrd.config.published import recorded

_FREE = {"output_dir", "tracking", "teacher"}  # may differ between a run and its continuation: they decide no weight


def identity(config: RunConfig) -> dict[str, JsonValue]:
    """The settings that must be equal, by section."""
    return {name: value for name, value in recorded(config).items() if name not in _FREE}


def identity_differences(theirs: object, ours: object, there: str, name: str = "") -> Iterator[str]:
    """In what two identities differ, a phrase each.

    Args:
        theirs: Of the run that was begun, as its file has it.
        ours: Of the one that is to go on with it.
        there: Where theirs was found: "in the checkpoint".
        name: Of the part that is compared, by dots.
    """
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for key in sorted(theirs.keys() | ours.keys()):
            yield from identity_differences(theirs.get(key), ours.get(key), there, f"{name}.{key}".lstrip("."))
    elif theirs != ours:
        yield f"{name}: {shown(theirs)} {there}, {shown(ours)} now"


def flat(tree: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """Nested settings by dotted name."""
    result: dict[str, JsonValue] = {}
    for name, value in tree.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return result
