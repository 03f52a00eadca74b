"""`make quickstart`'s script from end to end, on a tiny backbone and few rows."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from transformers import pipeline

import dhrd
from dhrd.experiments import study
from helpers.runs import environment

SETTINGS = (
    "data.train=policy_desk:rows=24,hops=3",
    "data.test=policy_desk:rows=60,hops=3",
    "data.max_sequence_tokens=512",  # bytes are tokens here
    "model.freeze_layers=1",
    "training.num_epochs=3",
    "training.learning_rate=1e-2",  # so that the arms come to differ
    "training.mixed_precision=no",
)


@pytest.fixture(scope="module")
def script(repository: Path) -> ModuleType:
    """It as a module, for its ways."""
    spec = importlib.util.spec_from_file_location("quickstart", repository / "examples/quickstart.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["quickstart"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ran(
    repository: Path, commands: Path, tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """Where the classifiers are, and what was printed."""
    output = tmp_path_factory.mktemp("quickstart") / "out"
    settings = (f"model.name_or_path={tiny_backbone}", *SETTINGS)
    command = [str(commands / "python"), str(repository / "examples/quickstart.py"), "--output", str(output)]
    command += ["--paper"] + [part for one in settings for part in ("--set", one)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, cwd=output.parent)
    assert done.returncode == 0, done.stderr
    return output, done.stdout


def test_it_leaves_classifiers_that_transformers_loads(ran: tuple[Path, str], script: ModuleType) -> None:
    for arm in (script.POOLED, script.PAPER, script.BEST):
        found = pipeline("text-classification", model=str(ran[0] / arm.name), top_k=None)("I want my money back.")
        assert {label["label"] for label in found[0]} == {"refund", "exchange", "store_credit", "decline"}


def test_it_takes_what_the_study_chose(script: ModuleType) -> None:
    assert script.BEST.settings == study.BEST.settings and script.POOLED.settings == study.POOLED.settings


def test_the_arms_differ_in_their_settings_alone(ran: tuple[Path, str], script: ModuleType) -> None:
    arms = (script.POOLED, script.PAPER, script.BEST)
    configs = [json.loads((ran[0] / arm.name / "run.json").read_text())["config"] for arm in arms]
    varied = {name for arm in arms for name in arm.settings}
    for arm, config in zip(arms, configs, strict=True):
        found = {name: config[name.partition(".")[0]].pop(name.partition(".")[2]) for name in varied}
        assert {name: found[name] for name in arm.settings} == arm.settings
        del config["output_dir"]
    assert configs[0] == configs[1] == configs[2]


def test_it_prints_each_way_and_the_paired_differences_of_what_the_classifiers_say(
    ran: tuple[Path, str], script: ModuleType
) -> None:
    text = " ".join(ran[1].split())
    arms = (script.POOLED, script.PAPER, script.BEST)
    evaluated = {arm.name: dhrd.evaluate(ran[0] / arm.name, split="test") for arm in arms}
    accuracy = {name: found.metrics["accuracy"] for name, found in evaluated.items()}
    for arm in arms:
        assert f"│ {arm.title} │ {accuracy[arm.name]:.3f} │" in text
    for arm in (script.PAPER, script.BEST):
        points = 100 * (accuracy[arm.name] - accuracy[script.POOLED.name])
        assert f"{arm.title} minus {script.POOLED.title}: {points:+.1f} points (95 % interval" in text
    pairs = []
    for seed in script.SEEDS:
        small = [
            dhrd.evaluate(ran[0] / "small" / f"{arm.name}-{seed}", split="test") for arm in (script.POOLED, script.BEST)
        ]
        pairs.append((small[0].outcomes, small[1].outcomes))
    paired = dhrd.compare(pairs, metric="accuracy")
    assert f"The difference is {script.points(paired)} over seeds)." in text
    assert "Transfer to 120 hand-written mails" in text
    assert str(ran[0] / script.BEST.name) in ran[1]


def test_it_uses_public_names_alone(repository: Path) -> None:
    tree = ast.parse((repository / "examples/quickstart.py").read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in modules if name.partition(".")[0] == "dhrd"} == {"dhrd"}
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "dhrd"
    }
    assert len(used) >= 5 and used <= set(dhrd.__all__)
