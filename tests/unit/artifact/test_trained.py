"""The digests of the rows that an artifact was trained on: eight bytes a row, beside it, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.artifact.hub import FILES
from dhrd.artifact.info import ArtifactInfo
from dhrd.artifact.owned import artifact_fingerprint, model_files
from dhrd.artifact.trained import TRAINED, read_trained, write_trained
from dhrd.artifact.write import kind_of, save_artifact
from dhrd.data.digest import text_digest
from dhrd.errors import ArtifactError
from helpers.artifacts import LABELS, save_tiny
from helpers.models import make_model


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_trained(tmp_path) is None
    digests = [text_digest(f"row {number}") for number in range(50)]
    write_trained(tmp_path, [*digests, *digests[:9]])
    assert read_trained(tmp_path) == {*digests}
    assert (tmp_path / TRAINED).stat().st_size == 50 * 8
    write_trained(tmp_path, [])
    assert read_trained(tmp_path) == set()


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / TRAINED).write_bytes(b"123456789")
    with pytest.raises(ArtifactError, match=f"{TRAINED}: damaged; copy the artifact again, or remove the file$"):
        read_trained(tmp_path)
    (tmp_path / TRAINED).unlink()
    (tmp_path / TRAINED).mkdir()
    with pytest.raises(ArtifactError, match=f"{TRAINED}: cannot be read"):
        read_trained(tmp_path)


def test_it_stays_here_and_is_no_part_of_the_model(tmp_path: Path) -> None:
    """Who has a text could tell of a model on the hub whether it was trained on that."""
    assert TRAINED not in FILES
    before = artifact_fingerprint(save_tiny(tmp_path))
    write_trained(tmp_path, [text_digest("row")])
    assert artifact_fingerprint(tmp_path) == before and tmp_path / TRAINED in model_files(tmp_path)
    model = make_model()
    save_artifact(tmp_path, model, ArtifactInfo(kind=kind_of(model), labels=LABELS))
    assert read_trained(tmp_path) is None, "of the model that was there before"
