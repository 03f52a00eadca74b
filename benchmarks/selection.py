"""Is a row that was chosen worth more than one that was drawn? (docs/results/select.md)

    python benchmarks/selection.py [labels noise clean] [--seeds 5] [--output FILE]

`labels`: accuracy against the number of labelled rows, by strategy. `noise`, `clean`: a rationale for a quarter of the
rows, chosen or drawn, with and without wrong labels. Cells that are done are kept in `--kept`, so it may be stopped and
goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from paired import done, interval

from dhrd.config import RunConfig, load_config
from dhrd.data.inputs import InputEncoder
from dhrd.data.rows import Rows, load_rows
from dhrd.evaluation.live import LiveModel
from dhrd.experiments.studies.controlled import NUM_HELD_OUT, NUM_TRAINED_ROWS, STUDY
from dhrd.experiments.study import BEST_SETTINGS
from dhrd.inference.engine.batching import probabilities
from dhrd.model.backbone import load_backbone
from dhrd.run.select.select import select_out_of_fold
from dhrd.run.select.strategies import RANDOM, STRATEGIES, Choose, ScoredPool, SelectionQuery, draw_rows
from dhrd.training.build import build
from dhrd.training.loop import fit

NUM_POOL, STEP, MOST = 3200, 400, 1200
NUM_REASONED_POOL, NUM_FOLDS, SHARE, HOPS = 1600, 3, 0.25, 2
NAMES = (RANDOM, *STRATEGIES)
STUDY_CELLS = Path("docs/results/controlled/cells")
AGAINST = {
    "labels": [(name, RANDOM) for name in STRATEGIES],
    "noise": [("chosen", "drawn"), ("chosen", "all"), ("drawn", "all"), ("drawn", "none")],
}
AGAINST["clean"] = AGAINST["noise"]

Cell = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(AGAINST))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kept", type=Path, default=Path("docs/results/select"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/select.json"))
    given = parser.parse_args()
    given.kept.mkdir(parents=True, exist_ok=True)
    results = json.loads(given.output.read_text(encoding="utf-8")) if given.output.is_file() else {}
    for part in given.parts:
        measure = labels if part == "labels" else partial(rationales, noise=0.25 if part == "noise" else 0.0)
        results[part] = summary([measure(seed, given.kept) for seed in range(given.seeds)], AGAINST[part])
        print(json.dumps({part: results[part]["differences"]}), flush=True)
        given.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def settings(seed: int, num_rows: int, *, noise: float, **own: object) -> RunConfig:
    """As the controlled study's."""
    desk = {
        "data.train": f"policy_desk:rows={num_rows},hops={HOPS},noise={noise:g},seed={seed}",
        "data.validation": f"policy_desk:rows={NUM_HELD_OUT},hops={HOPS}",
    }
    every = {**STUDY.settings, **desk, "seed": seed}
    return load_config(**{name.replace(".", "__"): value for name, value in every.items()}, **own)


def labels(seed: int, kept: Path) -> dict[str, float]:
    """Accuracies of one seed: by strategy and number of labelled rows, and by strategy their mean."""
    config = settings(seed, NUM_POOL, noise=0.0, loss__reasoning_weight=0)
    rows = load_rows(config)
    first = list(range(STEP))
    begun = done(kept / f"labels-{seed}-first.json", partial(bought, config, rows, first, NAMES))
    found = {"first": begun["accuracy"]}
    for name in NAMES:
        cell, have = begun, first
        for count in range(2 * STEP, MOST + 1, STEP):
            have = have + cell["next"][name]
            more = (name,) if count < MOST else ()
            cell = done(kept / f"labels-{seed}-{name}-{count}.json", partial(bought, config, rows, have, more))
            found[f"{name}-{count}"] = cell["accuracy"]
        found[name] = mean(accuracy for key, accuracy in found.items() if key.startswith(f"{name}-"))
    return found


def bought(config: RunConfig, rows: Rows, have: Sequence[int], names: Sequence[str]) -> Cell:
    """Train on the rows that are labelled, evaluate, and choose the next by each strategy."""
    config = load_config(base=config, training__num_epochs=NUM_TRAINED_ROWS // len(have))
    live, accuracy = trained(config, replace(rows, train=[rows.train[row] for row in have]))
    left = np.setdiff1d(np.arange(NUM_POOL), have)
    encoder = InputEncoder(tokenizer=live.model.tokenizer, max_input_tokens=config.data.max_input_tokens)
    inputs = encoder.encode_examples([rows.train[row] for row in left])
    live.model.eval()
    pooled_ND = live.engine.pooled([item.input_ids for item in inputs])
    with torch.inference_mode():
        p_NC = probabilities(live.model.head(pooled_ND).numpy(), multi_label=False)
    pool = ScoredPool(p_NC, pooled_ND.numpy())
    seed = 1000 * config.seed + len(have)
    drawn = {name: draw_rows(len(left), STEP, chooser(name, pool), seed=seed).rows for name in names}
    return {"accuracy": accuracy, "next": {name: left[places].tolist() for name, places in drawn.items()}}


def chooser(name: str, pool: ScoredPool) -> Choose | None:
    """A strategy over what is left of a pool."""
    return None if name == RANDOM else lambda rows, count, draws: STRATEGIES[name](pool[rows], count, draws)


def rationales(seed: int, kept: Path, *, noise: float) -> dict[str, float]:
    """Accuracies of one seed by which rows have a rationale; of all and of none those of the controlled study."""
    own: dict[str, object] = {name.replace(".", "__"): weight for name, weight in BEST_SETTINGS.items()}
    own["training__num_epochs"] = NUM_TRAINED_ROWS // NUM_REASONED_POOL
    config = settings(seed, NUM_REASONED_POOL, noise=noise, **own)
    rows, count = load_rows(config), round(SHARE * NUM_REASONED_POOL)

    def chosen() -> Cell:
        query = SelectionQuery(num_rows=count, strategy="margin", seed=seed)
        bare = load_config(base=config, data__rationale_share=0)
        selection = select_out_of_fold(bare, query, num_folds=NUM_FOLDS, kept=kept, device="cpu")
        return learned(config, rows, {row.example.id for row in selection.rows})

    def drawn() -> Cell:
        return learned(
            config, rows, {rows.train[row].id for row in draw_rows(NUM_REASONED_POOL, count, None, seed=seed).rows}
        )

    name = f"rationales-{noise:g}-{seed}"
    cells = {"chosen": chosen, "drawn": drawn}
    found = {arm: done(kept / f"{name}-{arm}.json", measure) for arm, measure in cells.items()}
    ends = {arm: study_accuracy(noise, cell, seed) for arm, cell in (("all", "best"), ("none", "pooled"))}
    wrong = {f"{arm}_wrong_labels": cell["wrong_labels"] for arm, cell in found.items()}
    return {arm: cell["accuracy"] for arm, cell in found.items()} | ends | wrong


def learned(config: RunConfig, rows: Rows, ids: set[str]) -> Cell:
    """Train with the rationales of these rows, and evaluate."""
    assert len(ids) == round(SHARE * NUM_REASONED_POOL)
    train = [row if row.id in ids else replace(row, rationale=None) for row in rows.train]
    wrong = mean(row.label != row.fields["true_label"] for row in train if row.rationale)
    return {"accuracy": trained(config, replace(rows, train=train))[1], "wrong_labels": wrong}


def trained(config: RunConfig, rows: Rows) -> tuple[LiveModel, float]:
    """A model and its accuracy on the held-out rows."""
    parts = build(config, rows, load_backbone(config.model, seed=config.seed), "cpu")
    fit(parts.state, parts.updates)
    live = LiveModel.of(parts.model, parts.accelerator)
    return live, live.evaluate(parts.data.validation.examples, rows.labels)["accuracy"]


def study_accuracy(noise: float, arm: str, seed: int) -> float:
    """Of a cell of the controlled study, which has the same rows, seeds and held-out rows."""
    name = f"rows{NUM_REASONED_POOL}-hops{HOPS}-noise{100 * noise:.0f}-desk_llama-{arm}-seed{seed}-*.json"
    (path,) = STUDY_CELLS.glob(name)
    return float(json.loads(path.read_text(encoding="utf-8"))["metrics"]["accuracy"])


def summary(seeds: Sequence[dict[str, float]], against: Sequence[tuple[str, str]]) -> Cell:
    """The seeds, and paired differences with 95 % t intervals."""
    differences = {f"{arm} - {other}": interval([seed[arm] - seed[other] for seed in seeds]) for arm, other in against}
    return {"seeds": list(seeds), "differences": differences}


if __name__ == "__main__":
    main()
