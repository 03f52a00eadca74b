"""Versions of the libraries that decide an artifact's numbers."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from dhrd import _versions


def test_versions_are_those_that_are_installed() -> None:
    versions = _versions.library_versions()
    assert list(versions) == ["dhrd", "torch", "transformers", "tokenizers", "peft", "safetensors"]
    assert versions["torch"] == version("torch")


def test_a_checkout_that_was_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(_versions, "version", missing)
    assert set(_versions.library_versions().values()) == {"not installed"}
