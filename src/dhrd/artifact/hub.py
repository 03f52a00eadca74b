"""Downloading artifacts from and uploading them to the Hugging Face hub.

Only the files of an artifact are transferred: no pickles, and no predictions, checkpoints or logs beside them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from dhrd._text import clipped
from dhrd.artifact.digests import PARTS
from dhrd.artifact.info import MANIFEST, read_info
from dhrd.errors import ArtifactError, DhrdError
from dhrd.model.foreign import foreign

FILES = (
    *(MANIFEST, "run.json", "README.md", "parity.json", "generation_config.json"),
    *PARTS,
    *("model.onnx", "model.onnx.data", "openvino_model.xml", "openvino_model.bin"),
    *("adapter/adapter_config.json", "adapter/adapter_model.safetensors"),
)
"""The files of an artifact, as patterns for the hub."""

_LONGEST_REASON = 150
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_name(name: str) -> bool:
    """Whether a text has the form `org/name` and is not a local path."""
    return bool(_REPOSITORY.fullmatch(name)) and not os.path.exists(Path(name).expanduser().parent)


def find_artifact(name_or_path: str | Path, revision: str | None = None) -> Path:
    """The directory of an artifact, downloaded from the hub if it is named `org/name` and is not a local path.

    Args:
        name_or_path: A directory, or a name on the hub. A `Path` is always a directory.
        revision: Branch, tag or commit on the hub; None: the default branch.

    Raises:
        ArtifactError: The hub does not have it, or cannot be reached and it was not downloaded before.
    """
    if isinstance(name_or_path, Path) or not is_hub_name(name_or_path):
        return Path(name_or_path).expanduser()
    from huggingface_hub import snapshot_download

    def describe(error: BaseException) -> DhrdError:
        return ArtifactError(
            f"{name_or_path}: neither a local directory nor an artifact on the hub ({_reason(error)}); give "
            "a directory written by `dhrd train`, or ORG/NAME"
        )

    with foreign(describe):
        return Path(snapshot_download(name_or_path, revision=revision, allow_patterns=list(FILES)))


def push_artifact(directory: Path, repository: str, *, private: bool = False, message: str | None = None) -> str:
    """Upload an artifact, creating the repository if it does not exist.

    Args:
        directory: A finished artifact.
        repository: The repository on the hub, `org/name`.
        private: Whether a new repository is private.
        message: The commit message; None: a default.

    Returns:
        The URL of the commit.

    Raises:
        ArtifactError: The artifact is not finished.
        DhrdError: The hub cannot be reached, or refuses for lack of a login or permission.
    """
    from huggingface_hub import create_repo, upload_folder

    kind = read_info(directory).kind

    def describe(error: BaseException) -> DhrdError:
        return DhrdError(f"{directory} was not uploaded to {repository} ({_reason(error)}); `hf auth login` logs in")

    with foreign(describe):
        create_repo(repository, private=private, exist_ok=True)
        commit = upload_folder(
            repo_id=repository,
            folder_path=directory,
            allow_patterns=list(FILES),
            delete_patterns=list(FILES),  # left by an artifact that this one replaces
            commit_message=message or f"A {kind} of dhrd",
        )
    return str(commit.commit_url)


def _reason(error: BaseException) -> str:
    """The hub client's multi-line message on one line."""
    return clipped(" ".join(str(error).split()) or type(error).__name__, _LONGEST_REASON)
