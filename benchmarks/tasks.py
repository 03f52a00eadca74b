"""Two tasks in one model against a model each, on the same rows (docs/results/tasks.md).

    python benchmarks/tasks.py [--rows 200 800] [--seeds 5] [--output FILE]

The returns desk's decision and the code of the rule that decided, by the small model from random weights. Runs that are
done are kept in `--kept`, so it may be stopped and goes on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from paired import interval

import dhrd
from dhrd.config import RunConfig, load_config
from dhrd.experiments.studies.controlled import BACKBONE, NUM_TRAINED_ROWS

TASKS = {"decision": "{column: label}", "reason": "{}"}
METRICS = ("accuracy", "macro_f1", "log_loss")
Scores = dict[str, dict[str, float]]
"""Task -> metric -> its value on the held-out rows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[200, 800])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kept", type=Path, default=Path("data/tasks"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/tasks.json"))
    given = parser.parse_args()
    given.kept.mkdir(parents=True, exist_ok=True)
    results: dict[str, object] = {}
    for rows in given.rows:
        pairs = [compared(rows, seed, given.kept) for seed in range(given.seeds)]
        results[f"rows={rows}"] = summary(pairs)
        print(json.dumps({rows: results[f"rows={rows}"]}), flush=True)
        given.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def compared(rows: int, seed: int, kept: Path) -> tuple[Scores, Scores]:
    """Each task by a model of its own, and both by one, on the same rows."""
    alone = {task: measured([task], rows, seed, kept)[task] for task in TASKS}
    return alone, measured(list(TASKS), rows, seed, kept)


def measured(tasks: Sequence[str], rows: int, seed: int, kept: Path) -> Scores:
    """One training and its held-out rows; kept, or read where it was kept."""
    path = kept / f"{'-'.join(tasks)}-rows{rows}-seed{seed}.json"
    if not path.is_file():
        with tempfile.TemporaryDirectory() as directory:
            metrics = dhrd.train(settings(tasks, rows, seed, directory), device="cpu", overwrite=True).metrics
        scores = {task: {name: own[name] for name in METRICS} for task, own in metrics["tasks"].items()}
        path.write_text(json.dumps(scores), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def settings(tasks: Sequence[str], rows: int, seed: int, output_dir: str) -> RunConfig:
    """480 updates of 20 rows, pooled, whatever the tasks and the number of rows."""
    return load_config(
        overrides=[
            f"tasks={{{', '.join(f'{task}: {TASKS[task]}' for task in tasks)}}}",
            f"data.train=policy_desk:rows={rows},hops=2,seed={seed}",
            "data.validation=policy_desk:rows=1000,hops=2",
            f"model.name_or_path={BACKBONE}",
            "loss.reasoning_weight=0",
            "data.max_input_tokens=128",
            "data.max_sequence_tokens=256",
            f"training.num_epochs={NUM_TRAINED_ROWS // rows}",
            f"training.eval_steps={10**6}",
            "training.learning_rate=3e-3",
            "training.batch_size=20",
            "training.mixed_precision=no",
            f"output_dir={output_dir}",
            f"seed={seed}",
        ]
    )


def summary(pairs: Sequence[tuple[Scores, Scores]]) -> dict[str, object]:
    """Of each task: every seed's values, and the paired difference, together minus alone, with its interval."""
    return {
        task: {
            name: {
                "alone": [alone[task][name] for alone, _ in pairs],
                "together": [together[task][name] for _, together in pairs],
                "difference": interval([both[task][name] - alone[task][name] for alone, both in pairs]),
            }
            for name in METRICS
        }
        for task in TASKS
    }


if __name__ == "__main__":
    main()
