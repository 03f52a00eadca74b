"""Whether a model that writes its own rationales gains by them (docs/results/self.md).

    python benchmarks/self_teacher.py [--seeds 5] [--kept data/self_teacher] [--output FILE]

A quarter of the rows have a rationale of the program that made them. Cells that are done are kept in `--kept`, so it
may be stopped and goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

from paired import compared, done

from dhrd.config import RunConfig, load_config
from dhrd.experiments.studies.controlled import BACKBONE
from dhrd.run.evaluate import evaluate
from dhrd.run.rounds import ROUNDS, train_rounds
from dhrd.run.train import train

Cell = dict[str, float]

NUM_ROWS, NOISE, NUM_HELD_OUT = 1600, 0.25, 1000
SHARE = 0.25
LEARNING = ("loss.classification_weight=0.2", "loss.privileged_weight=1", "loss.keyword_weight=1")
"""What gained most from rationales on these rows (docs/results, round 2)."""
ARMS: dict[str, tuple[str, ...]] = {
    "none": ("loss.reasoning_weight=0",),
    "quarter": (*LEARNING, f"data.rationale_share={SHARE}"),
    "self": (*LEARNING, f"data.rationale_share={SHARE}"),
    "all": LEARNING,
}
COMPARED = (("self", "quarter"), ("self", "none"), ("all", "self"))
"""Arm minus arm."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, default=Path("data/self_teacher"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/self_teacher.json"))
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    cells = {arm: [cell(arm, seed, given.kept / str(seed)) for seed in seeds] for arm in ARMS}
    result = {"seeds": len(cells["self"])} | compared(cells, COMPARED, ("accuracy", "log_loss"))
    given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def cell(arm: str, seed: int, kept: Path) -> Cell:
    """The numbers of an arm at a seed, from the file of an earlier run or measured now."""
    kept.mkdir(parents=True, exist_ok=True)
    found: Cell = done(kept / f"{arm}.json", lambda: measure(arm, seed, kept))
    print(arm, seed, found, flush=True)
    return found


def measure(arm: str, seed: int, kept: Path) -> Cell:
    """Train an arm; accuracy and log loss on held-out rows that chose nothing, and minutes of processor time."""
    for left in (kept / arm, kept / f"{arm}.rounds"):  # by a run that was stopped, whose time is not known
        shutil.rmtree(left, ignore_errors=True)
    began = time.process_time()
    config = settings(arm, seed, kept / arm)
    found: Cell = {}
    if arm == "self":
        directory = train_rounds(config, 2, device="cpu")[0].output_dir
        found = told(directory)
    else:
        directory = train(config, device="cpu").output_dir
    minutes = (time.process_time() - began) / 60
    metrics = evaluate(directory, f"policy_desk:rows={NUM_HELD_OUT},hops=2", device="cpu").metrics
    return {"accuracy": metrics["accuracy"], "log_loss": metrics["log_loss"], "minutes": minutes, **found}


def settings(arm: str, seed: int, output: Path) -> RunConfig:
    """Of an arm: the small model from random weights, 480 updates of 20 rows; other held-out rows choose the round."""
    return load_config(
        overrides=[
            *(f"model.name_or_path={BACKBONE}", f"output_dir={output}", f"seed={seed}"),
            f"data.train=policy_desk:rows={NUM_ROWS},hops=2,noise={NOISE},seed={seed}",
            "data.validation=policy_desk:rows=500,hops=2,seed=50",
            *("data.max_input_tokens=128", "data.max_sequence_tokens=256", "training.learning_rate=3e-3"),
            *("training.batch_size=20", "training.mixed_precision=no", f"training.num_epochs={9600 // NUM_ROWS}"),
            *("teacher.label_hidden=true", "teacher.samples=2", "teacher.max_tokens=80", "teacher.batch_size=64"),
            *ARMS[arm],
        ]
    )


def told(directory: Path) -> Cell:
    """What the rounds came to."""
    report = json.loads((directory / ROUNDS).read_text(encoding="utf-8"))
    last = report["rounds"][-1]
    keys = ("num_rationales", "num_own", "num_told", "log_loss")
    return {"best_round": report["best"], "rounds": len(report["rounds"])} | {f"last_{key}": last[key] for key in keys}


if __name__ == "__main__":
    main()
