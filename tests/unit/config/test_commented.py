"""Settings as YAML with their reasons."""

from __future__ import annotations

from pathlib import Path

import pytest

from dhrd.config import load_config
from dhrd.config.commented import Setting, nested, resolved, to_yaml
from dhrd.errors import ConfigError

SETTINGS = (
    Setting("model.name_or_path", "gpt2", "small"),
    Setting("data.train", "rows: #1.csv"),
    Setting("data.columns", {"label": "yes", "id": "010"}, "label: 'yes'\nid: '010'"),
    Setting("data.input_template", "a: {{ a }}\nb: {{ b }}\n"),
    Setting("seed", 3),
)


def test_what_is_written_is_read_as_the_same_settings(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(to_yaml(SETTINGS, "a heading"), encoding="utf-8")
    assert load_config(file) == resolved(SETTINGS)
    assert resolved(SETTINGS).data.columns == {"label": "yes", "id": "010"}
    assert resolved(SETTINGS).data.input_template.endswith("{{ b }}\n")


@pytest.mark.parametrize("name", ["1e3", "-1E+2", "on", "a\x85b", "a\u2028b"])
def test_columns_of_any_name_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    given = (Setting("data.columns", {"label": name}), Setting("data.input_template", f"{name}\n{{{{ a }}}}"))
    (tmp_path / "c.yaml").write_text(to_yaml(given), encoding="utf-8")
    assert load_config(tmp_path / "c.yaml") == resolved(given)


def test_reasons_stand_above_and_text_of_several_lines_as_it_is() -> None:
    text = to_yaml(SETTINGS, "a heading", "and more")
    assert text.startswith("# a heading\n# and more\nmodel:\n  # small\n  name_or_path: gpt2\ndata:\n")
    assert "  # label: 'yes'\n  # id: '010'\n  columns:\n" in text
    assert "  input_template: |\n    a: {{ a }}\n    b: {{ b }}\n" in text
    assert text.endswith("\nseed: 3\n")


@pytest.mark.parametrize("why", ["x\nseed: 9", "x\rseed: 9", "\x1b]0;t\x07", "x\u2028seed: 9", "y" * 300])
def test_text_from_data_stays_in_its_comment(tmp_path: Path, why: str) -> None:
    (tmp_path / "c.yaml").write_text(to_yaml([Setting("seed", 1, why)], why), encoding="utf-8")
    assert load_config(tmp_path / "c.yaml").seed == 1
    assert "\x1b" not in (tmp_path / "c.yaml").read_text(encoding="utf-8")


def test_sections_and_unknown_settings() -> None:
    assert nested([Setting("a.b", 1), Setting("a.c", 2), Setting("d", 3)]) == {"a": {"b": 1, "c": 2}, "d": 3}
    with pytest.raises(ConfigError, match="unknown setting"):
        resolved([Setting("data.trian", "x")])
