"""Directories of runs and exports: only what dhrd wrote is gone on with or replaced, by one process at a time."""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from dhrd._files import LOCK, locked, writing_directory
from dhrd._temporary import temporary
from dhrd.config import TrainingSettings
from dhrd.errors import ConfigError, SaveError
from dhrd.export.export import check_export_place
from dhrd.run import train as run
from dhrd.training.optim import make_optimizer, make_schedule
from dhrd.training.trackers.jsonl import JsonlTracker
from helpers.fork import ForkServer
from helpers.models import make_model
from helpers.runs import Ended, Recorder, Stop, flags, make_config, run_forked, run_here, settings, write_rows

Capsys = pytest.CaptureFixture[str]
SHORT = ("training.num_epochs=1",)


@pytest.fixture(scope="module")
def finished(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, its data beside it."""
    directory = tmp_path_factory.mktemp("finished")
    run.train(make_config(tiny_backbone, directory, *SHORT), device="cpu")
    return directory / "out"


def content(directory: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def refused(ended: Ended, part: str) -> None:
    assert (ended.code, len(ended.error_lines)) == (2, 1), ended.err
    assert part in ended.error_lines[0]


def train(capsys: Capsys, backbone: Path, directory: Path, *more: object) -> Ended:
    write_rows(directory)
    return run_here(capsys, "train", "--device", "cpu", *flags(settings(backbone, directory, *SHORT)), *more)


class TestF2CheckpointWhereNoRunWasStarted:
    """F2: `--checkpoint` goes on with runs that dhrd started, and touches nothing else."""

    @pytest.mark.parametrize("with_settings", [True, False])
    def test_f2_a_models_directory(
        self, capsys: Capsys, tiny_backbone: Path, tmp_path: Path, with_settings: bool
    ) -> None:
        base = shutil.copytree(tiny_backbone, tmp_path / "base")
        (base / "checkpoints").mkdir()
        (base / "checkpoints" / "epoch1.pt").write_bytes(b"mine")
        before = content(base)
        write_rows(tmp_path)
        given = flags(settings(tiny_backbone, tmp_path)) if with_settings else []
        refused(run_here(capsys, "train", *given, "--checkpoint", base), "no run was started there")
        assert content(base) == before

    def test_f2_another_programs_run_json(self, capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "run.json").write_text('{"name": "mine"}')
        ended = train(capsys, tiny_backbone, tmp_path, "--checkpoint", tmp_path / "theirs")
        assert ended.code == 2
        assert os.listdir(tmp_path / "theirs") == ["run.json"]


class TestF3OverwriteReplacesRunsAlone:
    """F3: `--overwrite` needs a run.json or dhrd.json of ours, and replaces files of ours."""

    @pytest.mark.parametrize(
        "files",
        [
            {"checkpoints/mine.pt": "mine", "notes.txt": ""},
            {"config.json": "{}", "README.md": "mine"},
            {"run.json": '{"name": "mine"}'},
            {"dhrd.json": "[]"},
            {"run.json": '{"config": {}, "versions": null}'},
        ],
    )
    def test_f3_what_is_no_run(
        self, capsys: Capsys, tiny_backbone: Path, tmp_path: Path, files: dict[str, str]
    ) -> None:
        for name, text in files.items():
            (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "out" / name).write_text(text)
        before = content(tmp_path / "out")
        refused(train(capsys, tiny_backbone, tmp_path, "--overwrite"), "--overwrite replaces nothing else")
        assert content(tmp_path / "out") == before

    def test_f3_the_working_directory(
        self, capsys: Capsys, tiny_backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "README.md").write_text("mine")
        monkeypatch.chdir(tmp_path)
        refused(train(capsys, tiny_backbone, tmp_path, "--output_dir", ".", "--overwrite"), "--overwrite replaces")
        assert (tmp_path / "README.md").read_text() == "mine"

    def test_f3_files_of_others_within_a_run(self, capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
        assert train(capsys, tiny_backbone, tmp_path).code == 0
        out = tmp_path / "out"
        mine = [
            out / "notes.txt",
            out / "checkpoints" / "mine.pt",
            out / "model-old.safetensors",
            out / "adapter" / "x",
        ]
        for path in mine:
            path.parent.mkdir(exist_ok=True)
            path.write_text("mine")
        before = (out / "model.safetensors").read_bytes()
        assert train(capsys, tiny_backbone, tmp_path, "--overwrite", "--seed", "3").code == 0
        assert (out / "model.safetensors").read_bytes() != before
        assert [path.read_text() for path in mine] == ["mine"] * 4

    def test_f3_an_output_dir_that_is_read(
        self, capsys: Capsys, tiny_backbone: Path, finished: Path, tmp_path: Path
    ) -> None:
        """The backbone, or the rows, lie where the new run would write."""
        out = shutil.copytree(finished, tmp_path / "out")
        before = content(out)
        refused(train(capsys, out, tmp_path, "--overwrite"), "would overwrite an input")
        shutil.copy(tmp_path / "train.jsonl", out / "metrics.jsonl")
        before, rows_there = content(out), ("--set", f"data.train={out / 'metrics.jsonl'}")
        refused(train(capsys, tiny_backbone, tmp_path, *rows_there, "--overwrite"), "would overwrite")
        assert content(out) == before

    def test_f3_exports(self, finished: Path, tmp_path: Path) -> None:
        """`export --overwrite` replaces exports: no trained model, and no folder of someone's."""
        for directory in (shutil.copytree(finished, tmp_path / "run"), tmp_path):
            with pytest.raises(ConfigError, match="only replaces output of `dhrd export`"):
                check_export_place(finished, directory, overwrite=True)
        (tmp_path / "onnx").mkdir()
        (tmp_path / "onnx" / "dhrd.json").write_text('{"kind": "onnx"}')
        check_export_place(finished, tmp_path / "onnx", overwrite=True)
        with pytest.raises(ConfigError, match="already exists"):
            check_export_place(finished, tmp_path / "onnx", overwrite=False)

    def test_f3_an_empty_or_barely_begun_directory_is_free(
        self, capsys: Capsys, tiny_backbone: Path, tmp_path: Path
    ) -> None:
        """As a run leaves it that was killed before it began."""
        (tmp_path / "out" / "checkpoints").mkdir(parents=True)
        (tmp_path / "out" / LOCK).touch()
        temporary(tmp_path / "out" / "checkpoints" / "run.json", tmp_path / "out" / "checkpoints").touch()
        assert train(capsys, tiny_backbone, tmp_path).code == 0
        assert not list((tmp_path / "out").glob(".*"))


class TestF5OneTrainingAtATime:
    """F5: a lock in the run's directory; a kill lets go of it."""

    @pytest.mark.parametrize("flag", ["--overwrite", "--checkpoint"])
    def test_f5_two_trainings(self, capsys: Capsys, tiny_backbone: Path, tmp_path: Path, flag: str) -> None:
        config, ended = make_config(tiny_backbone, tmp_path, *SHORT), []

        class Second(Recorder):
            def log(self, values: Any, step: int) -> None:
                if not ended:
                    more = [flag] if flag == "--overwrite" else [flag, tmp_path / "out"]
                    ended.append(train(capsys, tiny_backbone, tmp_path, *more))

        run.train(config, device="cpu", callbacks=[Second()])
        refused(ended[0], "another process is writing there")
        assert not (tmp_path / "out" / LOCK).exists()
        assert len((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()) == 4

    def test_f5_a_lock_that_a_kill_left_holds_nothing(self, tmp_path: Path) -> None:
        (tmp_path / LOCK).touch()
        with locked(tmp_path):
            with pytest.raises(ConfigError, match="another process"), locked(tmp_path):
                pass
            assert (tmp_path / LOCK).exists()
        assert not list(tmp_path.iterdir())

    def test_f5_a_refused_run_leaves_no_directory(self, capsys: Capsys, tiny_backbone: Path, tmp_path: Path) -> None:
        ended = train(capsys, tiny_backbone, tmp_path, "--set", f"data.train={tmp_path / 'no.jsonl'}")
        assert ended.code == 2
        assert not (tmp_path / "out").exists()


class TestA8Modes:
    """A8: every file has the umask's mode, whoever wrote it."""

    @pytest.mark.parametrize("mask", [0o022, 0o027])
    @pytest.mark.parametrize("more", [[], ["model.lora.r=1"], ["model.head=mlp"]], ids=["full", "lora", "mlp"])
    def test_a8_an_artifact(self, tiny_backbone: Path, tmp_path: Path, mask: int, more: list[str]) -> None:
        before = os.umask(mask)
        try:
            run.train(make_config(tiny_backbone, tmp_path, *SHORT, *more), device="cpu")
        finally:
            os.umask(before)
        assert modes(tmp_path / "out") == {0o666 & ~mask}

    def test_a8_checkpoints(self, tiny_backbone: Path, tmp_path: Path) -> None:
        overrides = "training.save_steps=1", "training.selection=best", "training.eval_steps=1"
        with pytest.raises(Stop):
            run.train(make_config(tiny_backbone, tmp_path, *overrides), device="cpu", callbacks=[Recorder(fail_at=3)])
        files = {path.name for path in (tmp_path / "out" / "checkpoints").rglob("*")}
        assert files >= {"model.safetensors", "optimizer.pt", "best-00000001.safetensors", "state.json"}
        mask = os.umask(0)
        os.umask(mask)
        assert modes(tmp_path / "out") == {0o666 & ~mask}

    def test_a8_an_export(self, tmp_path: Path) -> None:
        with writing_directory(tmp_path / "out", last="dhrd.json") as partial:
            for name in ("model.onnx", "dhrd.json"):
                (partial / name).touch(mode=0o600)
        mask = os.umask(0)
        os.umask(mask)
        assert modes(tmp_path / "out") == {0o666 & ~mask}


def modes(directory: Path) -> set[int]:
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*") if path.is_file()}
    assert len(found) >= 2
    return set(found.values())


class TestWritingADirectory:
    """Decision on directories: filled beside, moved when whole, what is not ours stays."""

    @pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
    @pytest.mark.parametrize("was_there", [True, False])
    def test_nothing_is_left_of_a_failure(self, tmp_path: Path, error: type[BaseException], was_there: bool) -> None:
        target = tmp_path / "out"
        if was_there:
            target.mkdir()
            (target / "old").write_text("old")
        with pytest.raises(error), writing_directory(target, last="last") as partial:
            (partial / "half").write_text("half")
            raise error
        assert content(tmp_path) == ({"out/old": b"old"} if was_there else {})
        assert os.listdir(tmp_path) == (["out"] if was_there else [])

    @pytest.mark.parametrize("at", [1, 2, 3])
    def test_an_interrupt_while_moving_ends_after_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
    ) -> None:
        (tmp_path / "b").write_text("old")
        (tmp_path / "stale").write_text("old")
        replace, seen = os.replace, []

        def interrupted(source: Any, target: Any) -> None:
            seen.append(target)
            if len(seen) == at:
                raise KeyboardInterrupt
            replace(source, target)

        monkeypatch.setattr(os, "replace", interrupted)
        with (
            pytest.raises(KeyboardInterrupt),
            writing_directory(tmp_path, last="last", stale=["stale", "c"]) as partial,
        ):
            for name in ("a", "b", "last"):
                (partial / name).write_text("new")
        assert content(tmp_path) == dict.fromkeys(["a", "b", "last"], b"new")

    def test_what_a_kill_left_is_removed(self, tmp_path: Path) -> None:
        for place in (tmp_path, tmp_path / "out"):
            left = temporary(tmp_path / "out", place)
            left.mkdir(parents=True)
            (left / "half").touch()
            if place == tmp_path:
                with writing_directory(tmp_path / "out", last="last") as partial:
                    (partial / "last").touch()
                assert os.listdir(tmp_path) == ["out"]
        with writing_directory(tmp_path / "out", last="last") as partial:
            (partial / "last").touch()
        assert os.listdir(tmp_path / "out") == ["last"]


class TestF20Small:
    """F20: what is left behind, and what is told."""

    def test_f20_killed_before_tidying(self, capsys: Capsys, finished: Path, tmp_path: Path) -> None:
        out = shutil.copytree(finished, tmp_path / "out")
        before = content(out)
        for name in ("step-00000003/state.json", ".partial-00000004/model.safetensors", "best-00000003.safetensors"):
            (out / "checkpoints" / name).parent.mkdir(parents=True, exist_ok=True)
            (out / "checkpoints" / name).write_text("{}")
        shutil.copy(out / "run.json", out / "checkpoints" / "run.json")
        ended = run_here(capsys, "train", "--checkpoint", out)
        assert (ended.code, ended.err) == (0, f"{out}: training is already finished; nothing to do\n")
        assert content(out) == before
        assert not (out / "checkpoints").exists()

    def test_f20_metrics_on_a_full_disk(self, fork_server: ForkServer, tiny_backbone: Path, tmp_path: Path) -> None:
        write_rows(tmp_path)
        overrides = settings(tiny_backbone, tmp_path, "training.batch_size=1", "training.num_epochs=10")
        given = "train", "--device", "cpu", *flags(overrides), "--set", "training.save_steps=9999"
        ended = run_forked(fork_server, tmp_path, *given, max_file_bytes=8192)
        assert ended.code == 1, ended.err
        assert ended.err.count("metrics.jsonl could not be saved (File too large)") == 1
        assert "Traceback" not in ended.err

    def test_f20_a_log_that_cannot_be_closed(self, tmp_path: Path) -> None:
        tracker = JsonlTracker(tmp_path / "metrics.jsonl")
        tracker._file.close()
        tracker._file = Path("/dev/full").open("a")  # noqa: SIM115
        with pytest.raises(SaveError, match=r"metrics\.jsonl could not be saved"):
            tracker.log({"loss": 1.0}, 1)
        tracker.abort("FAILED")
        assert tracker._file.closed

    @pytest.mark.parametrize(("steps", "says"), [(10, True), (11, True), (9, False)])
    def test_f20_warm_up_over_the_whole_run(self, caplog: pytest.LogCaptureFixture, steps: int, says: bool) -> None:
        settings = TrainingSettings(warmup_steps=steps)
        with caplog.at_level(logging.WARNING, "dhrd"):
            make_schedule(make_optimizer(make_model(), settings), settings, 10)
        assert ("the learning rate never reaches its peak" in caplog.text) is says

    def test_f20_home(
        self, tiny_backbone: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "home").mkdir()
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        ended = train(capsys, tiny_backbone, tmp_path, "--set", "output_dir=~/out")
        assert ended.code == 0, ended.err
        assert json.loads((tmp_path / "home" / "out" / "run.json").read_text())["config"]["output_dir"] == str(
            tmp_path / "home" / "out"
        )
        assert not (tmp_path / "~").exists()
