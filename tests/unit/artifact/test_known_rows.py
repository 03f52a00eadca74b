"""The digests of the rows that an artifact knows: eight bytes a row, beside it, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.artifact.hub import FILES
from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.known_rows import KNOWN, TRAINED, read_digests, write_digests
from dhrd.artifact.owned import artifact_fingerprint, model_files
from dhrd.artifact.write import kind_of, save_artifact
from dhrd.data.digest import text_digest
from dhrd.errors import ArtifactError
from helpers.artifacts import LABELS, save_tiny
from helpers.models import make_model


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_digests(tmp_path / TRAINED) is None
    digests = [text_digest(f"row {number}") for number in range(50)]
    write_digests(tmp_path / TRAINED, [*digests, *digests[:9]])
    assert read_digests(tmp_path / TRAINED) == {*digests}
    assert (tmp_path / TRAINED).stat().st_size == 50 * 8
    write_digests(tmp_path / TRAINED, [])
    assert read_digests(tmp_path / TRAINED) == set()


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / TRAINED).write_bytes(b"123456789")
    with pytest.raises(ArtifactError, match=f"{TRAINED}: damaged; copy the artifact again, or remove the file$"):
        read_digests(tmp_path / TRAINED)
    (tmp_path / TRAINED).unlink()
    (tmp_path / TRAINED).mkdir()
    with pytest.raises(ArtifactError, match=f"{TRAINED}: cannot be read"):
        read_digests(tmp_path / TRAINED)


@pytest.mark.parametrize("name", KNOWN)
def test_it_stays_here_and_is_no_part_of_the_model(tmp_path: Path, name: str) -> None:
    """Who has a text could tell of a model on the hub whether it was trained on that."""
    assert name not in FILES
    before = artifact_fingerprint(save_tiny(tmp_path))
    write_digests(tmp_path / name, [text_digest("row")])
    assert artifact_fingerprint(tmp_path) == before and tmp_path / name in model_files(tmp_path)
    model = make_model()
    save_artifact(tmp_path, model, ArtifactInfo(kind=kind_of(model), labels=LABELS))
    assert read_digests(tmp_path / name) is None, "of the model that was there before"
