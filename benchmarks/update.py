"""What an update learns and forgets when a policy changes (docs/results/update.md).

    python benchmarks/update.py [--seeds 5] [--kept data/update] [--output FILE]

The returns desk did not sell cosmetics, and clothing came back within 60 days; now it sells them, and clothing comes
back within 20. Cells that are done are kept in `--kept`, so it may be stopped and goes on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from statistics import mean

from paired import compared, done

from dhrd.config import RunConfig, load_config
from dhrd.data.policy_desk import PolicyDesk
from dhrd.data.policy_desk.policy import WINDOW_DAYS
from dhrd.experiments.studies.controlled import BACKBONE
from dhrd.inference.classifier import Classifier
from dhrd.run.rows import rows_of
from dhrd.run.train import train
from dhrd.run.update.rows import UpdateSettings
from dhrd.run.update.start import update_config
from dhrd.run.update.update import update

Row = dict[str, object]
Cell = dict[str, float]

CHANGED = ("cosmetics", "clothing")
NUM_OLD, NUM_NEW, NUM_HELD_OUT = 1300, 200, 500
NUM_UPDATES, NUM_UPDATE_EPOCHS, ROWS_PER_UPDATE = 480, 10, 20
REPLAY: dict[str, dict[str, float]] = {
    "none": {},
    "replay": {"replay_share": 0.2},
    "replay_half": {"replay_share": 0.5},
    "replay_half_kl": {"replay_share": 0.5, "kl": 0.5},
}
ARMS = (*REPLAY, "scratch")
COMPARED = (
    ("replay", "none"),
    ("replay_half", "replay"),
    ("replay_half_kl", "replay_half"),
    ("replay", "scratch"),
    ("replay_half", "scratch"),
)
"""Arm minus arm."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, default=Path("data/update"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/update.json"))
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    cells = {arm: [cell(arm, seed, given.kept / str(seed)) for seed in seeds] for arm in ("old", *ARMS)}
    result = {"seeds": len(cells["old"])} | compared(cells, COMPARED, ("new", "old"))
    given.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def cell(arm: str, seed: int, kept: Path) -> Cell:
    """The numbers of an arm at a seed, from the file of an earlier run or measured now."""
    kept.mkdir(parents=True, exist_ok=True)
    found: Cell = done(kept / f"{arm}.json", lambda: measure(arm, seed, kept))
    print(arm, seed, found, flush=True)
    return found


def measure(arm: str, seed: int, kept: Path) -> Cell:
    """Train an arm; accuracy on both kinds of held-out rows, and processor time of all its threads."""
    write_rows(seed, kept)
    for left in (kept / arm, kept / f"{arm}.update"):  # by a run that was stopped, whose time is not known
        shutil.rmtree(left, ignore_errors=True)
    began = time.process_time()
    if arm in REPLAY:
        directory = updated(arm, kept)
    else:
        rows = "old.jsonl" if arm == "old" else "all.jsonl"
        directory = train(settings(kept / rows, seed, kept / arm), device="cpu").output_dir
    minutes = (time.process_time() - began) / 60
    return {
        "new": accuracy(directory, kept / "eval_new.jsonl"),
        "old": accuracy(directory, kept / "eval_old.jsonl"),
        "minutes": minutes,
    }


def updated(arm: str, kept: Path) -> Path:
    """The old model, updated as an arm says."""
    chosen = UpdateSettings(
        model=kept / "old",
        new=str(kept / "new.jsonl"),
        output=kept / arm,
        replay=str(kept / "replay.jsonl") if REPLAY[arm] else None,
        eval_new=str(kept / "eval_new.jsonl"),
        eval_old=str(kept / "eval_old.jsonl"),
        max_regression=1.0,
        **REPLAY[arm],
    )
    config = update_config(kept / "old")
    training = config.training.model_copy(update={"num_epochs": NUM_UPDATE_EPOCHS})
    return update(chosen, config.model_copy(update={"training": training}), device="cpu").output_dir


def settings(rows: Path, seed: int, output: Path) -> RunConfig:
    """Of a run from random weights: 480 updates of 20 rows, with the rationales of the rows."""
    num_rows = len(rows.read_text(encoding="utf-8").splitlines())
    return load_config(
        overrides=[
            *(f"model.name_or_path={BACKBONE}", f"data.train={rows}", f"output_dir={output}", f"seed={seed}"),
            *("data.max_input_tokens=128", "data.max_sequence_tokens=256", "training.learning_rate=3e-3"),
            *(f"training.batch_size={ROWS_PER_UPDATE}", "training.mixed_precision=no"),
            f"training.num_epochs={round(NUM_UPDATES * ROWS_PER_UPDATE / num_rows)}",
        ]
    )


def write_rows(seed: int, kept: Path) -> None:
    """The files of a seed; held-out rows are the same for all."""
    before = f"hops=2,seed={seed}"
    after = f"hops=2,clothing_days=20,seed={1000 + seed}"
    old = desk(f"rows=2000,{before}", NUM_OLD, lambda kind: kind != "cosmetics")
    new = desk(f"rows=1500,{after}", NUM_NEW, lambda kind: kind in CHANGED)
    replay = [row for row in old if kind_of(row) not in CHANGED]
    write(kept / "old.jsonl", old)
    write(kept / "new.jsonl", [row | {"id": f"new-{row['id']}"} for row in new])
    write(kept / "replay.jsonl", replay)
    write(kept / "all.jsonl", [*new, *replay])
    held_out = ("rows=3000,hops=2,clothing_days=20", NUM_HELD_OUT, lambda kind: kind in CHANGED)
    write(kept / "eval_new.jsonl", desk(*held_out, split="validation"))
    held_out = ("rows=3000,hops=2", 2 * NUM_HELD_OUT, lambda kind: kind not in CHANGED)
    write(kept / "eval_old.jsonl", desk(*held_out, split="validation"))


def desk(spec: str, count: int, wanted: Callable[[str], bool], split: str = "train") -> list[Row]:
    """The first rows of a spec that are of a wanted kind of item."""
    found = list(islice((row for row in PolicyDesk.parse(spec).generate(split) if wanted(kind_of(row))), count))
    assert len(found) == count, f"{spec}: {len(found)} rows"
    return found


def kind_of(row: Row) -> str:
    """The kind of item, which the rationale names."""
    return next(kind for kind in WINDOW_DAYS if kind in str(row["rationale"]))


def write(path: Path, rows: Iterable[Row]) -> None:
    """As JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def accuracy(directory: Path, rows: Path) -> float:
    """Of an artifact on labelled rows."""
    examples = rows_of(directory, str(rows))
    answers = Classifier.from_pretrained(directory, device="cpu", dtype=None).predict(examples)
    return mean(answer == example.label for answer, example in zip(answers, examples, strict=True))


if __name__ == "__main__":
    main()
