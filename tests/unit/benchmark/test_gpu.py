"""`benchmarks/gpu.py` on a CPU with a tiny model: its parts, a check that fails, no time left, what is missing."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dhrd.benchmark import limits
from dhrd.benchmark.machine import matmul_flops_per_second
from dhrd.config import ModelSettings
from dhrd.model.backbone import load_backbone
from helpers.models import save_backbone
from helpers.runs import write_rows

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
MODULES = ("gpu", "gpu_checks", "gpu_speed", "evidence")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder of benchmarks on the path."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def wide_backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose linear layers cost more than its attention, as real ones': sharing prefixes pays."""
    shape = {"hidden_size": 32, "intermediate_size": 512, "max_position_embeddings": 1024}
    return save_backbone(tmp_path_factory.mktemp("wide"), "llama", **shape)


@pytest.fixture
def bench(scripts: None, wide_backbone: str, tmp_path: Path) -> Any:
    from gpu_checks import Bench  # type: ignore[import-not-found]

    return Bench(load_backbone(ModelSettings(name_or_path=wide_backbone)), "cpu", tmp_path / "artifact")


@pytest.fixture
def gpu(scripts: None, tmp_path: Path, wide_backbone: str) -> Callable[..., tuple[int, dict[str, Any]]]:
    """`python benchmarks/gpu.py`, in this process: its code and its result."""
    from gpu import main  # type: ignore[import-not-found]

    write_rows(tmp_path)
    output = tmp_path / "gpu.json"
    common = ["--device", "cpu", "--data", str(tmp_path), "--output", str(output), "--jobs", "1"]
    common += ["--backbone", "elsewhere", "--backbone-path", f"elsewhere={wide_backbone}"]

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = main([*common, *arguments])
        return code, json.loads(output.read_text())

    return run


def test_every_check_holds_on_this_device(bench: Any) -> None:
    from gpu_checks import CHECKS, run_checks

    found = {check["check"]: check for check in run_checks(bench, time.monotonic() + 600)}
    assert found.keys() == CHECKS.keys()
    assert len(found) == 9
    assert found.pop("an fp16 step")["error"] == "needs a GPU"
    assert {name: check["error"] for name, check in found.items() if not check["ok"]} == {}


def test_a_check_sees_what_is_wrong(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that divides by the micro-batch's own counts, and a class head that reads the end of the sequence."""
    import gpu_checks

    from dhrd.training import step

    sound = step._global_counts
    monkeypatch.setattr(step, "_global_counts", lambda state, batches: sound(state, batches[:1]))
    monkeypatch.setattr("dhrd.model.dual_head.pool", lambda hidden_BTD, batch, kind: hidden_BTD[:, -1])
    found = {check["check"]: check["ok"] for check in gpu_checks.run_checks(bench, time.monotonic() + 600)}
    assert not found["1 x 8 is 8 x 1"]
    assert not found["class logits see no rationale"]
    assert not found["one pass is two passes"]
    assert found["LM loss is the stock one"]


def test_rows_share_their_prefixes_in_a_model_too_small_for_it_to_pay(scripts: None, tmp_path: Path) -> None:
    from gpu_checks import EXACT, Bench, shared_prefixes

    name = save_backbone(tmp_path / "tiny", "llama", max_position_embeddings=1024)
    assert shared_prefixes(Bench(load_backbone(ModelSettings(name_or_path=name)), "cpu", tmp_path / "artifact")) < EXACT


@pytest.mark.parametrize("is_called", [False, True], ids=["skipped", "called, as a fused one"])
@pytest.mark.parametrize("num_overflowing", [0, 3, 12])
def test_updates_that_a_loss_scaler_skips_are_not_taken_for_one(
    bench: Any, monkeypatch: pytest.MonkeyPatch, num_overflowing: int, is_called: bool
) -> None:
    import gpu_checks

    def train_step(state: Any, _: Any, step: int) -> dict[str, float]:
        overflows = step <= num_overflowing
        for parameter in bench.model.parameters():
            parameter.grad = torch.full_like(parameter, math.inf if overflows else 1.0)
        if is_called or not overflows:
            state.optimizer.step()
        return {"loss": 1.0, "step": step}

    monkeypatch.setattr(gpu_checks, "train_step", train_step)
    log, found = bench.gradients([])
    assert log["step"] == min(12, num_overflowing + 1)
    assert bool(found and gpu_checks.finite(found)) == (num_overflowing < 12)


def test_what_is_measured_is_named_with_its_units(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_speed  # type: ignore[import-not-found]

    small = partial(matmul_flops_per_second, sizes=(256,))  # the large products take seconds here
    for module in (gpu_speed, limits):
        monkeypatch.setattr(module, "matmul_flops_per_second", small)
    found = dict(gpu_speed.run_speed(bench, time.monotonic() + 600, lambda text: None, num_rows=24))
    for name in ("training, batch 8", "training, batch 32"):
        for way in ("dhrd", "pooled", "bare"):
            assert found[name][way]["tokens_per_second"] > 0
            assert 0 < found[name][way]["share_of_matmul_rate"] < 1
        assert (
            found[name]["dhrd"]["num_tokens"] > found[name]["pooled"]["num_tokens"] == found[name]["bare"]["num_tokens"]
        )
    assert 0 < found["training compiled, batch 32"]["compiled_over_plain_seconds"] < 10
    assert found["inference"]["dhrd_over"].keys() >= {"pipeline_1", "pipeline_default", "loop"}


def test_cells_of_the_plan_are_run_in_the_time_left(
    gpu: Callable[..., tuple[int, dict[str, Any]]], tmp_path: Path
) -> None:
    rows = ["data.train={data}/train.jsonl", "data.validation={data}/validation.jsonl", "training.num_epochs=1"]
    entry = {"name": "own", "study": "main", "set": [*rows, "model.name_or_path=elsewhere"], "seeds": 1}
    plan = tmp_path / "plan.yaml"
    plan.write_text(json.dumps({"entries": [entry | {"output": str(tmp_path / "out")}]}))
    code, found = gpu("--plan", str(plan), "--skip", "correctness,throughput")
    assert code == 0
    assert found["missing"] == []
    assert found["cells"]["num_run"] == 2
    assert found["cells"]["done"] == {"own": [2, 2]}
    names = sorted(path.name for path in (tmp_path / "out/cells").iterdir())
    assert [name.split("-seed")[0] for name in names] == ["train-elsewhere-dhrd", "train-elsewhere-pooled"]


def test_a_failure_is_reported_and_nothing_is_begun_too_late(
    gpu: Callable[..., tuple[int, dict[str, Any]]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu_checks

    def broken(bench: Any) -> float:
        raise RuntimeError("no such kernel")

    checks = {"broken": (broken, 1.0), "above": (lambda bench: 2.0, 1.0), "fine": (lambda bench: 0.5, 1.0)}
    monkeypatch.setattr(gpu_checks, "CHECKS", checks)
    code, found = gpu("--skip", "throughput,cells", "--plan", "nowhere.yaml")
    assert code == 1
    assert [check["ok"] for check in found["correctness"]] == [False, False, True]
    assert found["correctness"][0]["error"] == "RuntimeError: no such kernel"
    assert found["missing"] == ["nowhere.yaml: no such path"]
    assert "FAILED   broken" in capsys.readouterr().out
    code, found = gpu("--seconds", "0", "--plan", "nowhere.yaml")
    assert code == 0
    assert {check["error"] for check in found["correctness"]} == {"no time left"}
    assert found["throughput"]["inference"] == {"error": "no time left"}


def test_what_is_not_installed_is_said_first(
    gpu: Callable[..., tuple[int, dict[str, Any]]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpu as module

    monkeypatch.setattr(module, "NEEDED", (*module.NEEDED, "no_such_module"))
    assert module.main([]) == 2
    assert "gpu: error: not installed: no_such_module" in capsys.readouterr().err
