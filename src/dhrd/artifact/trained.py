"""Which rows an artifact was trained on, by the digests of their texts: a file that is not uploaded to the hub.

Eight bytes a row, sorted. Whoever has a text can tell whether it is among them; they tell no text by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dhrd.errors import ArtifactError

TRAINED = "trained_rows.digests"

_DIGITS = 16


def write_trained(directory: Path, digests: Iterable[str]) -> None:
    """Write the digests (`data/digest.py`) of training rows, each once."""
    (directory / TRAINED).write_bytes(bytes.fromhex("".join(sorted({*digests}))))


def read_trained(directory: Path) -> set[str] | None:
    """The digests of an artifact's training rows; None if it does not have them.

    Raises:
        ArtifactError: The file is damaged.
    """
    path = directory / TRAINED
    try:
        digits = path.read_bytes().hex()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); copy the artifact again") from error
    if len(digits) % _DIGITS:
        raise ArtifactError(f"{path}: damaged; copy the artifact again, or remove the file")
    return {digits[place : place + _DIGITS] for place in range(0, len(digits), _DIGITS)}
