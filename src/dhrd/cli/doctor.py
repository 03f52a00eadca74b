"""`dhrd doctor`"""

from __future__ import annotations

import importlib.util
import os
import platform

from dhrd._terminal import say

_EXTRAS = {
    "gguf": "gguf",
    "mlflow": "mlflow",
    "report": "matplotlib",
    "teacher": "openai",
    "serve": "fastapi",
    "qlora": "bitsandbytes",
    "onnx": "onnxruntime",
    "openvino": "openvino",
}


def doctor() -> None:
    """Print what this machine has and what training will use.

    Paste it into a bug report.
    """
    import torch

    from dhrd._versions import library_versions
    from dhrd.model.precision import product_rates
    from dhrd.training.setup import choose_precision

    for name, version in {"python": platform.python_version(), **library_versions()}.items():
        say(f"{name:14} {version}")
    say(f"{'platform':14} {platform.platform()}")
    say(f"{'cpu':14} {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    say(f"{'gpu':14} {', '.join(gpus) or 'none'}")
    say(f"{'precision':14} {choose_precision('auto').mixed} (training.mixed_precision: auto)")
    rates = product_rates()
    for dtype, rate in (("float32", rates.float32), ("bfloat16", rates.bfloat16)):
        say(f"{'matmul':14} {dtype:9}" + (f"{rate:6.0f} GFLOP/s on the cpu" if rate else " not on this cpu"))
    say(f"{'hub':14} {'offline' if os.environ.get('HF_HUB_OFFLINE') else 'online if reachable'}")
    found = [extra for extra, module in _EXTRAS.items() if importlib.util.find_spec(module)]
    missing = sorted(set(_EXTRAS) - set(found))
    say(f"{'extras':14} installed: {', '.join(found) or 'none'}; missing: {', '.join(missing) or 'none'}")
