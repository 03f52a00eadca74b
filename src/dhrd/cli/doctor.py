"""`dhrd doctor`"""

from __future__ import annotations

import importlib.util
import os
import platform
from typing import TypedDict

from dhrd._terminal import say
from dhrd.cli.options import Json, write_json

_EXTRAS = {
    "audit": "cleanlab",
    "gguf": "gguf",
    "mlflow": "mlflow",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "qlora": "bitsandbytes",
    "ray": "ray",
    "report": "matplotlib",
    "serve": "fastapi",
    "teacher": "openai",
}


class Machine(TypedDict):
    """What `dhrd doctor` reports; rates are None for types that the CPU cannot multiply."""

    versions: dict[str, str]
    platform: str
    cores: int | None
    threads: int
    gpus: list[str]
    mixed_precision: str
    matmul_gflops: dict[str, float | None]
    hub: str
    extras: list[str]
    missing_extras: list[str]


def doctor(json_file: Json = None) -> None:
    """Print what this machine has and what training will use.

    Include the output in bug reports.
    """
    from dhrd._files import talking
    from dhrd._outputs import JSON, Output, check_outputs

    check_outputs([Output("--json", json_file, JSON)], ())
    machine = _look()
    write_json(json_file, machine)
    with talking(json_file):
        _print(machine)


def _look() -> Machine:
    import torch

    from dhrd._versions import library_versions
    from dhrd.model.precision import product_rates
    from dhrd.training.setup import choose_precision

    rates = product_rates()
    found = [extra for extra, module in _EXTRAS.items() if importlib.util.find_spec(module)]
    return {
        "versions": {"python": platform.python_version(), **library_versions()},
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "mixed_precision": choose_precision("auto").mixed,
        "matmul_gflops": {"float32": rates.float32, "bfloat16": rates.bfloat16},
        "hub": "offline" if os.environ.get("HF_HUB_OFFLINE") else "online if reachable",
        "extras": found,
        "missing_extras": [extra for extra in _EXTRAS if extra not in found],
    }


def _print(machine: Machine) -> None:
    rows = list(machine["versions"].items())
    rows += [
        ("platform", machine["platform"]),
        ("cpu", f"{machine['cores']} cores, torch uses {machine['threads']} threads"),
        ("gpu", ", ".join(machine["gpus"]) or "none"),
        ("precision", f"{machine['mixed_precision']} (training.mixed_precision: auto)"),
    ]
    rows += [
        ("matmul", f"{dtype:9}" + (f"{rate:6.0f} GFLOP/s on the cpu" if rate else " not on this cpu"))
        for dtype, rate in machine["matmul_gflops"].items()
    ]
    installed, missing = (", ".join(machine[key]) or "none" for key in ("extras", "missing_extras"))
    rows += [("hub", machine["hub"]), ("extras", f"installed: {installed}; missing: {missing}")]
    say(*(f"{name:14} {text}" for name, text in rows))
