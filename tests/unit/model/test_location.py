"""Where a backbone is, found without loading anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.errors import ModelError
from dhrd.model.location import file_of, locate


def test_a_packages_file_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "a_package" / "some.gguf").write_bytes(b"")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = locate("package:a_package/some.gguf")
    assert found == {"pretrained_model_name_or_path": str(tmp_path / "a_package"), "gguf_file": "some.gguf"}
    with pytest.raises(ModelError, match=r"the package 'a_package' has no file 'other\.gguf'"):
        locate("package:a_package/other.gguf")
    with pytest.raises(ModelError, match="the package 'no_package' is not installed: pip install no-package"):
        locate("package:no_package/some.gguf")


def test_a_name_and_a_directory_stay_as_they_are(tmp_path: Path) -> None:
    assert locate("org/name") == {"pretrained_model_name_or_path": "org/name"}
    assert locate(str(tmp_path)) == {"pretrained_model_name_or_path": str(tmp_path)}
    with pytest.raises(
        ModelError, match=r"^model\.name_or_path: \./nowhere cannot be loaded: there is no such directory; give"
    ):
        locate("./nowhere")


def test_a_drawn_backbone_has_its_tokenizer_beside_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    name = f"scratch:{tmp_path / 'config.json'}"
    assert locate(name) == {"pretrained_model_name_or_path": str(tmp_path)}
    with pytest.raises(ModelError, match=r"^scratch:none\.json: no such file$"):
        locate("scratch:none.json")


def test_a_file_that_is_not_there_is_told_as_it_was_given(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^what was given: no such file$"):
        file_of(str(tmp_path / "absent.gguf"), "what was given")
