"""Artifacts on the Hugging Face hub: by name to a directory, and from a directory to the hub.

Only what an artifact consists of travels: no pickle comes, and no predictions, checkpoints or logs that lie beside go.
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
"""The files of an artifact, as the hub's patterns."""

_LONGEST_REASON = 150
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def is_hub_name(name: str) -> bool:
    """Whether a text has the form `org/name`, and is no path here."""
    return bool(_REPOSITORY.fullmatch(name)) and not os.path.exists(Path(name).expanduser().parent)


def find_artifact(name_or_path: str | Path, revision: str | None = None) -> Path:
    """The directory of an artifact, downloaded from the hub where a text has the form `org/name` and is no path here.

    Args:
        name_or_path: A directory, or a name on the hub. A `Path` is a directory always.
        revision: Branch, tag or commit on the hub; None: its default.

    Raises:
        ArtifactError: The hub does not have it, or cannot be reached, and it was not downloaded before.
    """
    if isinstance(name_or_path, Path) or not is_hub_name(name_or_path):
        return Path(name_or_path).expanduser()
    from huggingface_hub import snapshot_download

    def describe(error: BaseException) -> DhrdError:
        return ArtifactError(
            f"{name_or_path}: neither a directory here nor an artifact that the hub gives ({_reason(error)}); give "
            "a directory that `dhrd train` wrote, or ORG/NAME"
        )

    with foreign(describe):
        return Path(snapshot_download(name_or_path, revision=revision, allow_patterns=list(FILES)))


def push_artifact(directory: Path, repository: str, *, private: bool = False, message: str | None = None) -> str:
    """Upload an artifact, into a new repository where there is none of that name.

    Args:
        directory: A finished artifact.
        repository: Its name on the hub, `org/name`.
        private: Whether a new repository is.
        message: Of the commit; None: one that says what it is.

    Returns:
        The address of the commit.

    Raises:
        ArtifactError: It is not finished.
        DhrdError: The hub cannot be reached, or refuses: no login, no right to write there.
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
            delete_patterns=list(FILES),  # of another artifact, in whose place this comes
            commit_message=message or f"A {kind} of dhrd",
        )
    return str(commit.commit_url)


def _reason(error: BaseException) -> str:
    """What the hub's client says, whose messages have several lines, on one."""
    return clipped(" ".join(str(error).split()) or type(error).__name__, _LONGEST_REASON)
