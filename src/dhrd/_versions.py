"""Versions of the libraries that decide an artifact's numbers."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def library_versions() -> dict[str, str]:
    """Versions of what decides an artifact's numbers."""
    return {name: _version(name) for name in ("dhrd", "torch", "transformers", "tokenizers", "peft", "safetensors")}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # on the path without having been installed, as a checkout of ours may be
        return "not installed"
