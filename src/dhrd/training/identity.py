"""What must be equal for a run to resume: everything that decides its weights and how they are chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from dhrd._text import shown
from dhrd.config import RunConfig
from dhrd.config.published import recorded

_FREE = {"output_dir", "tracking", "teacher"}  # may differ between a run and its continuation: they affect no weight

_HASHED = {
    "rows": "the training rows",
    "rows of choices": "the rows of choices",
    "validation rows": "the validation rows",
}

BACKBONE = "backbone's config"
"""The entry of the backbone's config, which a checkpoint of an earlier version does not have; it may go on."""


def identity(config: RunConfig) -> dict[str, JsonValue]:
    """The settings that must be equal, by section."""
    return {name: value for name, value in recorded(config).items() if name not in _FREE}


def identity_differences(theirs: object, ours: object, there: str, name: str = "") -> Iterator[str]:
    """The differences between two identities, one phrase each.

    Args:
        theirs: Identity of the saved run, as read from its file.
        ours: Identity of the run that is to continue it.
        there: Where `theirs` was found, such as "in the checkpoint".
        name: Dotted name of the part being compared.
    """
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for key in sorted(theirs.keys() | ours.keys()):
            if key == BACKBONE and key not in theirs:
                continue
            yield from identity_differences(theirs.get(key), ours.get(key), there, f"{name}.{key}".lstrip("."))
    elif theirs != ours and name in _HASHED:
        yield _HASHED[name]
    elif theirs != ours:
        yield f"{name}: {shown(theirs)} {there}, {shown(ours)} now"


def flat(tree: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """Nested settings by dotted name."""
    result: dict[str, JsonValue] = {}
    for name, value in tree.items():
        result |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return result
