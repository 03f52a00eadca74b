"""Which rows an artifact knows, by the digests of their texts, in files that are not uploaded to the hub.

Eight bytes a row, sorted. Whoever has a text can tell whether it is among them; they tell no text by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dhrd._files import writing
from dhrd.errors import ArtifactError

TRAINED = "trained_rows.digests"
CHOSEN = "chosen_rows.digests"
DECIDED = "decided_rows.digests"
KNOWN = (TRAINED, CHOSEN, DECIDED)
"""The rows that it was trained on, those that weights or a temperature were chosen on, and those of its decision."""

_DIGITS = 16


def write_digests(path: Path, digests: Iterable[str]) -> None:
    """Write the digests (`data/digest.py`) of rows, each once."""
    with writing(path) as file:
        file.write(bytes.fromhex("".join(sorted({*digests}))))


def read_digests(path: Path) -> set[str] | None:
    """The digests of rows; None if the artifact does not have them.

    Args:
        path: One of `KNOWN` in an artifact.

    Raises:
        ArtifactError: The file is damaged.
    """
    try:
        digits = path.read_bytes().hex()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); copy the artifact again") from error
    if len(digits) % _DIGITS:
        raise ArtifactError(f"{path}: damaged; copy the artifact again, or remove the file")
    return {digits[place : place + _DIGITS] for place in range(0, len(digits), _DIGITS)}
