"""What an update begins with: the settings of the run before, and a place that is free."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dhrd._temporary import temporary
from dhrd.artifact.info import read_info
from dhrd.errors import ArtifactError, ConfigError
from dhrd.run.update.start import REPORT, ROWS_STAMP, beside_output, check_update_place, update_config
from dhrd.training.run_dir import read_run
from helpers.artifacts import save_tiny


def test_what_an_update_begins_with_and_leaves_out(tmp_path: Path) -> None:
    old, told = save_tiny(tmp_path / "old"), {"training": {"calibrate": True}, "data": {"dev_share": 0.2}}
    (old / "run.json").write_text(json.dumps({"config": told}), encoding="utf-8")
    began, config, info = read_run(old), update_config(old), read_info(old)
    assert began is not None
    assert (config.model.name_or_path, config.model.keep_head) == (str(old), True)
    assert config.data.max_input_tokens == info.max_input_tokens == 64
    assert (config.data.train, config.data.validation, config.data.dev_share) == (None, None, 0)
    assert (began.training.calibrate, config.training.calibrate) == (True, False)
    assert config.training.learning_rate == pytest.approx(0.3 * began.training.learning_rate)
    assert config.training.head_learning_rate == pytest.approx(0.3 * (began.training.head_learning_rate or 0))
    assert config.training.num_epochs == began.training.num_epochs
    again = update_config(old, config).training
    assert again.learning_rate == pytest.approx(0.3 * config.training.learning_rate), "trained further by hand"
    (old / REPORT).touch()
    assert update_config(old, config).training == config.training, "an update of an update keeps its rates"
    asked = update_config(old, config, rate_factor=0.5).training
    assert asked.learning_rate == pytest.approx(0.5 * config.training.learning_rate)
    with pytest.raises(ConfigError, match="`rate_factor` 0"):
        update_config(old, rate_factor=0)


def test_an_artifact_without_a_record_of_its_run_needs_a_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give `config`"):
        update_config(save_tiny(tmp_path / "tiny"))
    with pytest.raises(ArtifactError, match="no such directory"):
        update_config(tmp_path / "absent")


def test_what_is_anothers_is_not_written_over(tmp_path: Path) -> None:
    output = tmp_path / "new"
    work, rejected = beside_output(output)
    check_update_place(output)
    for name in ("artifact", ROWS_STAMP, "answers-1.npy"):  # what an update that was stopped leaves
        work.mkdir(exist_ok=True)
        (work / name).touch()
    check_update_place(output)
    (work / "mine.txt").touch()
    with pytest.raises(ConfigError, match=r"new\.update contains files"):
        check_update_place(output)
    (work / "mine.txt").unlink()
    rejected.mkdir()
    (rejected / "mine.txt").touch()
    with pytest.raises(ConfigError, match=r"new\.rejected contains files"):
        check_update_place(output)
    with pytest.raises(ConfigError, match=r"`output` .*new\.rejected: is not empty"):
        check_update_place(rejected)


def test_a_place_that_the_update_could_not_take_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new").symlink_to("/proc/sys")
    with pytest.raises(ConfigError, match=r"`output` .*new: is a link to another disk"):
        check_update_place(tmp_path / "new")


def test_an_update_that_was_stopped_while_it_removed_its_work_is_complete(tmp_path: Path) -> None:
    output = tmp_path / "new"
    work, _ = beside_output(output)
    for _ in range(2):
        left = temporary(work, tmp_path)
        left.mkdir()
        (left / ROWS_STAMP).touch()
        check_update_place(output)
        assert not left.exists()
    left.mkdir()
    output.mkdir()
    (output / REPORT).touch()
    with pytest.raises(ConfigError, match=r"new: the interrupted update is complete"):
        check_update_place(output)
    assert list(tmp_path.iterdir()) == [output]
    with pytest.raises(ConfigError, match="is not empty"):
        check_update_place(output)
