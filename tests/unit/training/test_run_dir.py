"""The directory of a run: what may be written there, and what is read back."""

from __future__ import annotations

import errno
import json
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from dhrd.artifact.info import MANIFEST
from dhrd.config import RunConfig, TeacherSettings, resolve
from dhrd.config.tracking import TrackingSettings
from dhrd.errors import CheckpointError, ConfigError, SaveError
from dhrd.training import run_dir
from dhrd.training.checkpoint_files import whole_checkpoints
from dhrd.training.run_dir import (
    Place,
    check_place,
    prepare_output,
    read_precision,
    read_run,
    run_record,
    start_run,
    started_run,
    with_place,
)
from dhrd.training.setup import Precision

PRECISION = Precision("bf16", {"float32": 1.0})


def config_for(directory: Path, **changes: object) -> RunConfig:
    return resolve({"output_dir": str(directory), **changes})


def place(config: RunConfig, checkpoint: Path | None = None, *, overwrite: bool = False) -> Place:
    with ExitStack() as held:
        return prepare_output(config, checkpoint, overwrite=overwrite, held=held)


def test_a_run_that_was_started_is_read_back(tmp_path: Path) -> None:
    config = config_for(tmp_path / "out", seed=3)
    start_run(tmp_path / "out", config, PRECISION, fresh=True)
    assert read_run(tmp_path / "out") == started_run(tmp_path / "out") == config
    assert read_precision(tmp_path / "out") == PRECISION
    assert read_run(tmp_path) is None and read_precision(tmp_path) is None


def test_an_artifacts_maker_names_no_servers_for_who_uses_it(tmp_path: Path) -> None:
    """An update would log its rows' model there, with this user's key; a run that was begun here keeps its own."""
    config = config_for(tmp_path / "out", seed=3)
    theirs = {"tracking": {"report_to": ["mlflow"], "uri": "http://them"}, "teacher": {"base_url": "http://them/v1"}}
    given = run_record(config, PRECISION)["config"] | theirs  # type: ignore[operator]
    (tmp_path / "run.json").write_text(json.dumps({"config": given}))
    assert read_run(tmp_path) == config.model_copy(
        update={"tracking": TrackingSettings(), "teacher": TeacherSettings()}
    )
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "run.json").rename(tmp_path / "checkpoints" / "run.json")
    begun = read_run(tmp_path)
    assert begun is not None and begun.tracking.uri == "http://them"


def test_a_record_tells_settings_precision_and_libraries(tmp_path: Path) -> None:
    record = run_record(config_for(tmp_path, seed=5), PRECISION)
    assert (record["seed"], record["precision"]) == (5, {"mixed": "bf16", "measured": {"float32": 1.0}})
    assert record["versions"].keys() >= {"torch", "transformers"}  # type: ignore[attr-defined]
    assert "tracking" not in record["config"]  # type: ignore[operator]


def test_a_place_is_free_ours_or_refused(tmp_path: Path) -> None:
    config = config_for(tmp_path / "out")
    assert place(config) == Place(output_dir=tmp_path / "out")
    start_run(tmp_path / "out", config, PRECISION, fresh=True)
    with pytest.raises(ConfigError, match="is not empty; resume with"):
        place(config)
    assert place(config, overwrite=True).goes_on is False
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="replaces nothing else"):
        place(config_for(tmp_path / "other"), overwrite=True)


def test_a_run_goes_on_with_its_own_settings_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = config_for(tmp_path / "out")
    start_run(tmp_path / "out", config, PRECISION, fresh=True)
    gone_on = place(config_for(tmp_path / "out", tracking={"report_to": "mlflow"}), tmp_path / "out")
    assert (gone_on.goes_on, gone_on.start, gone_on.is_finished) == (True, None, False)
    assert "no complete checkpoint yet; starting over" in caplog.text
    with pytest.raises(CheckpointError) as caught:
        place(config_for(tmp_path / "out", seed=1, training={"num_epochs": 9}), tmp_path / "out")
    first, *lines = str(caught.value).splitlines()
    assert "the run there has other settings;" in first
    assert lines == ["seed: 0 there, 1 now", "training.num_epochs: 3 there, 9 now"]
    with pytest.raises(CheckpointError, match=r"other settings \(seed: 0 there, 1 now\);"):
        place(config_for(tmp_path / "out", seed=1), tmp_path / "out")


def test_a_run_goes_on_where_it_is(tmp_path: Path) -> None:
    """Another output_dir is refused, and not ignored; a run that was moved still records its old one."""
    config, new = config_for(tmp_path / "out"), config_for(tmp_path / "new")
    start_run(tmp_path / "out", config, PRECISION, fresh=True)
    for refuse in (place, lambda *given: check_place(*given, overwrite=False)):
        with pytest.raises(ConfigError, match=r"new: .*where it is; leave `output_dir` out, or copy .*out there"):
            refuse(new, tmp_path / "out")
    assert not (tmp_path / "new").exists()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert place(config_for(tmp_path / "link"), tmp_path / "out").goes_on
    assert place(resolve({}), tmp_path / "out").goes_on, "none was given"
    (tmp_path / "out").rename(tmp_path / "moved")
    for given in (config, config_for(tmp_path / "moved")):
        moved = place(given, tmp_path / "moved").output_dir
        assert with_place(given, moved).output_dir == str(tmp_path / "moved")


def test_nothing_that_was_started(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run was started there"):
        started_run(tmp_path)
    with pytest.raises(CheckpointError, match="no such directory"):
        started_run(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["{", "[]", '{"config": 3}'])
def test_a_damaged_record_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"run\.json: damaged"):
        read_run(tmp_path)


def test_a_new_run_takes_the_place_of_an_artifact(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    for name in ("dhrd.json", "run.json"):
        (tmp_path / name).write_text(json.dumps({"config": {"seed": 9}}), encoding="utf-8")
    start_run(tmp_path, config, PRECISION, fresh=True)
    assert not (tmp_path / "dhrd.json").exists() and not (tmp_path / "run.json").exists()
    assert read_run(tmp_path) == config


def finished(directory: Path) -> RunConfig:
    """A finished run that was killed before it removed its checkpoints."""
    config = config_for(directory, seed=9)
    start_run(directory, config, PRECISION, fresh=True)
    (directory / "checkpoints/step-00000001").mkdir()
    for name in ("run.json", "checkpoints/step-00000001/state.json", "checkpoints/best-00000001.safetensors"):
        (directory / name).write_bytes((directory / "checkpoints/run.json").read_bytes())
    (directory / MANIFEST).write_text("{}", encoding="utf-8")
    return config


def test_a_full_disk_leaves_the_run_that_was_to_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = finished(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_dir, "writing", full)
    with pytest.raises(SaveError, match="what was saved before is intact"):
        start_run(tmp_path, config_for(tmp_path), PRECISION, fresh=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert read_run(tmp_path) == old


@pytest.mark.parametrize("num_removed", range(4))
def test_a_kill_leaves_the_old_run_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_removed: int
) -> None:
    old, new, removed = finished(tmp_path), config_for(tmp_path), list[Path]()
    unlink = Path.unlink

    def dies(path: Path, missing_ok: bool = False) -> None:
        if len(removed) == num_removed:
            raise KeyboardInterrupt
        removed.append(path)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr(Path, "unlink", dies)
        start_run(tmp_path, new, PRECISION, fresh=True)
    assert len(removed) == min(num_removed, 3)  # of the best weights, the manifest and run.json
    assert read_run(tmp_path) == (old if (tmp_path / MANIFEST).exists() else new)
    assert (tmp_path / MANIFEST).exists() or not whole_checkpoints(tmp_path / "checkpoints")


def test_a_look_refuses_what_preparing_would_and_leaves_no_trace(tmp_path: Path) -> None:
    config = config_for(tmp_path / "out")
    check_place(config, None, overwrite=False)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.md").touch()
    for overwrite, message in ((False, "is not empty; resume with"), (True, "give another output_dir")):
        with pytest.raises(ConfigError, match=message) as looked:
            check_place(config, None, overwrite=overwrite)
        with pytest.raises(ConfigError) as prepared:
            place(config, overwrite=overwrite)
        assert str(looked.value) == str(prepared.value)
    with pytest.raises(CheckpointError, match="no such directory"):
        check_place(config, tmp_path / "absent", overwrite=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.md"]


def test_a_look_refuses_to_write_where_the_run_reads(tmp_path: Path) -> None:
    config = config_for(tmp_path / "out", data={"train": str(tmp_path / "out" / "config.json")})
    start_run(tmp_path / "out", config, PRECISION, fresh=True)
    (tmp_path / "out" / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match="would overwrite an input"):
        check_place(config, None, overwrite=True)
