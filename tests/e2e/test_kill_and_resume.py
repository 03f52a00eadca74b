"""A run killed at any moment goes on to the same bytes; Ctrl-C is an ordinary end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from dhrd.training.checkpoint_files import whole_checkpoints
from helpers.fork import ForkServer
from helpers.runs import COMMAND, environment, flags, read_jsonl, run_forked, settings, write_rows

NUM_STEPS = 40
"""20 rows, 4 an update, 8 epochs."""
SETTINGS = [
    "training.batch_size=2",
    "training.gradient_accumulation_steps=2",
    "training.num_epochs=8",
    "training.save_steps=7",
    "training.eval_steps=5",
    "training.learning_rate=0.01",
    "model.dropout=0.3",
]
BEST = [*SETTINGS, "training.selection=best", "training.metric=log_loss"]
FILES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class Job:
    """A run that is started and killed again and again."""

    server: ForkServer
    backbone: Path
    directory: Path
    settings: list[str]

    @property
    def output(self) -> Path:
        return self.directory / "out"

    @property
    def first(self) -> list[str]:
        return ["train", "--device", "cpu", *flags(settings(self.backbone, self.directory, *self.settings))]

    @property
    def again(self) -> list[str]:
        return ["train", "--device", "cpu", "--checkpoint", str(self.output)]

    def logged(self) -> list[int]:
        """The steps in metrics.jsonl, a torn last line left out."""
        path = self.output / "metrics.jsonl"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return [int(line.partition(":")[2].partition(",")[0]) for line in text.splitlines(True) if line.endswith("}\n")]

    def kill_after(self, arguments: list[str], num_steps: int, extra_s: float) -> int:
        """SIGKILL once a step is in the log and a little later; the exit code, 0 where it was done before that."""
        pid = self.server.start(arguments, self.directory / "stdout.txt", self.directory / "stderr.txt")
        self.wait_for(num_steps)
        time.sleep(extra_s)
        os.kill(pid, signal.SIGKILL)
        return self.server.wait()

    def wait_for(self, num_steps: int) -> None:
        """Until a step is in the log, or the artifact is there."""
        deadline = time.monotonic() + 120
        while max(self.logged(), default=0) < num_steps and not (self.output / "dhrd.json").is_file():
            assert time.monotonic() < deadline, (self.directory / "stderr.txt").read_text(encoding="utf-8")
            time.sleep(0.0005)

    def finish(self) -> None:
        ended = run_forked(self.server, self.directory, *self.again)
        assert ended.code == 0, ended.err


@pytest.fixture(scope="module", params=[SETTINGS, BEST], ids=["last", "best"])
def unbroken(
    request: pytest.FixtureRequest,
    fork_server: ForkServer,
    tiny_backbone: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Job:
    """A run that nothing stopped."""
    job = Job(fork_server, tiny_backbone, tmp_path_factory.mktemp("unbroken"), request.param)
    write_rows(job.directory)
    ended = run_forked(fork_server, job.directory, *job.first)
    assert ended.code == 0, ended.err
    assert job.logged().count(NUM_STEPS) == 2  # trained and evaluated
    return job


@pytest.fixture
def job(unbroken: Job, tmp_path: Path) -> Job:
    """The same run elsewhere, on the same files, not yet begun."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("train.jsonl", "validation.jsonl"):
        (here / name).symlink_to(unbroken.directory / name)
    return Job(unbroken.server, unbroken.backbone, here, unbroken.settings)


def assert_same(job: Job, unbroken: Job) -> None:
    for name in FILES:
        assert (job.output / name).read_bytes() == (unbroken.output / name).read_bytes(), name
    ours, theirs = (read_jsonl(one.output / "metrics.jsonl") for one in (job, unbroken))
    timing = {"tokens_per_second"}
    assert [{k: v for k, v in row.items() if k not in timing} for row in ours] == [
        {k: v for k, v in row.items() if k not in timing} for row in theirs
    ]
    assert [row["step"] for row in ours if "loss" in row] == list(range(1, NUM_STEPS + 1))
    assert not (job.output / "checkpoints").exists()


@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_moments(job: Job, unbroken: Job, seed: int) -> None:
    """Three kills in a row, somewhere within the run, then to the end."""
    rng = random.Random(seed)
    arguments, num_killed = job.first, 0
    for num_steps in sorted(rng.sample(range(1, NUM_STEPS), 3)):
        num_killed += job.kill_after(arguments, num_steps, rng.uniform(0, 0.02)) == -signal.SIGKILL
        arguments = job.again
    assert num_killed >= 1  # on a busy machine the run may be done before a signal comes
    job.finish()
    assert_same(job, unbroken)


@pytest.mark.parametrize("count", [2, 4, 7, "artifact", "manifest"])
def test_killed_in_place_of_a_rename(job: Job, unbroken: Job, count: int | str) -> None:
    """The moments in which a file or a directory takes its final name: log, best weights, checkpoint, artifact."""
    num_files = 8  # of the artifact
    checkpoints = NUM_STEPS // 7
    improved = _num_improvements(unbroken) if "training.selection=best" in unbroken.settings else 0
    before_artifact = 2 + checkpoints + improved  # 2: checkpoints/run.json, metrics.jsonl
    at = {"artifact": before_artifact + 3, "manifest": before_artifact + num_files - 1}.get(str(count), count)
    ended = run_forked(job.server, job.directory, *job.first, kill_at_replace=at)
    assert ended.code == -signal.SIGKILL
    assert not (job.output / "dhrd.json").exists()
    if isinstance(count, str):
        assert list(job.output.glob(".*.partial/dhrd.json"))  # it was within publishing
        assert max(job.logged()) == NUM_STEPS
    assert all((path / "optimizer.pt").is_file() for path in whole_checkpoints(job.output / "checkpoints"))
    job.finish()
    assert_same(job, unbroken)


def _num_improvements(job: Job) -> int:
    best, count = float("inf"), 0
    for row in read_jsonl(job.output / "metrics.jsonl"):
        if row.get("eval_log_loss", best) < best:
            best, count = row["eval_log_loss"], count + 1
    return count


def test_ctrl_c(job: Job, unbroken: Job) -> None:
    out, err = job.directory / "stdout.txt", job.directory / "stderr.txt"
    pid = job.server.start(job.first, out, err)
    job.wait_for(20)
    os.kill(pid, signal.SIGINT)
    assert job.server.wait() == 130
    said = err.read_text(encoding="utf-8")
    assert said.splitlines()[-1] == f"dhrd: interrupted; continue with: dhrd train --checkpoint {job.output}"
    assert "Traceback" not in said
    assert whole_checkpoints(job.output / "checkpoints")
    job.finish()
    assert_same(job, unbroken)


@pytest.mark.parametrize("unbroken", [SETTINGS], indirect=True, ids=["last"])
def test_the_installed_command_killed_and_resumed(job: Job, unbroken: Job) -> None:
    """The same once with nothing shared: the command itself, a new process each time."""
    environ = environment(TOKENIZERS_PARALLELISM="false")
    with (job.directory / "stderr.txt").open("w") as err:
        started = subprocess.Popen([COMMAND, *job.first], env=environ, stdout=subprocess.DEVNULL, stderr=err)
    job.wait_for(20)
    started.kill()
    assert started.wait(60) == -signal.SIGKILL
    done = subprocess.run([COMMAND, *job.again], env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"from {job.output / 'checkpoints'}" in done.stderr
    assert_same(job, unbroken)


@pytest.mark.parametrize("unbroken", [SETTINGS], indirect=True, ids=["last"])
def test_a_finished_run_says_so(unbroken: Job) -> None:
    before = (unbroken.output / "dhrd.json").stat().st_mtime_ns
    ended = run_forked(unbroken.server, unbroken.directory, *unbroken.again)
    assert ended.code == 0
    assert ended.err == f"{unbroken.output}: training is already finished; nothing to do\n"
    assert (unbroken.output / "dhrd.json").stat().st_mtime_ns == before
