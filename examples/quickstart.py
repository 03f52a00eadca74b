"""The pooled baseline and DHRD with the losses that the study chose: the same seeds, the same mail, side by side.

    python examples/quickstart.py [--paper] [--output quickstart] [--set section.key=value]

The mail is generated, to a returns desk (policy_desk), a quarter of its labels random beside rationales for the true
one, as where people label in haste and a program gives the reasons. First both are trained three times on a model of
two small layers from random weights: the gain, with its interval over seeds. Then once on SmolLM2-135M, with fewer
mails and updates: held-out mail, the hand-written mail of another shop (returns_desk), queries per second of the
classifiers and of chain of thought by the same backbone. What it leaves are classifiers that transformers loads.
`--paper` trains SmolLM2 with the paper's losses too, which takes longer than the other two together.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if not sys.stderr.isatty():
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported

from rich.console import Console
from rich.table import Table

import dhrd

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / "configs" / "policy_desk.yaml"
TRANSFER = REPOSITORY / "examples" / "returns_desk" / "test.jsonl"
SETTINGS = (
    "data.train=policy_desk:rows=1000,hops=2,noise=0.25",
    "data.validation=null",  # nothing is chosen
    "data.test=policy_desk:rows=500,hops=2",
    "model.freeze_layers=24",  # of 30, and few epochs: it shall take minutes
    "training.num_epochs=3",
    "training.learning_rate=1.6e-3",  # of 4e-4, 8e-4 and this, the best for both ways on a fifth of the training rows
    "loss.lm_targets=continuation",  # the reasoning head learns rationales, and not mail: it takes minutes less
)
"""What differs from the config. Rows and seed were fixed before any of the test rows was looked at; the epochs were
lowered from 4 afterwards, for the time alone, and the rate, which had been 4e-4, was chosen on training rows."""
SMALL_CONFIG = REPOSITORY / "configs" / "csv.yaml"
SMALL_SETTINGS = ("data.validation=null", "data.test=policy_desk:rows=1000,hops=2", "training.mixed_precision=no")
SMALL_TRAIN, SEEDS = "policy_desk:rows=1600,hops=2,noise=0.25,seed={seed}", (0, 1, 2)
"""The mails of the first seeds of `dhrd reproduce controlled`, in the regime of its claim; other ones are held out."""
NUM_TIMED_ROWS, NUM_COT_ROWS, MAX_NEW_TOKENS = 64, 8, 128


@dataclass(frozen=True, slots=True)
class Way:
    """A way to train: its directory's name, its title, and what it sets."""

    name: str
    title: str
    settings: dict[str, Any]


POOLED = Way(
    "pooled",
    "pooled baseline",
    {"loss.reasoning_weight": 0.0, "loss.keyword_weight": 0.0, "loss.privileged_weight": 0.0},
)
PAPER = Way("dhrd", "DHRD, the paper's losses", {"loss.lm_targets": "all"})
BEST = Way(
    "best",
    "DHRD+",
    {"loss.privileged_weight": 1.0, "loss.keyword_weight": 1.0, "loss.classification_weight": 0.2},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One way, trained and evaluated.

    Args:
        way: Its title and settings.
        directory: The classifier.
        minutes: That training took.
        held_out: On mail of the same desk.
        transfer: On another shop's.
        qps: Queries per second, from text to label.
    """

    way: Way
    directory: Path
    minutes: float
    held_out: dhrd.Evaluation
    transfer: dhrd.Evaluation
    qps: float


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", action="store_true", help="train SmolLM2 with the paper's losses too")
    parser.add_argument("--output", type=Path, default=Path("quickstart"))
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="overrides")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    began = time.perf_counter()
    console = Console(highlight=False)
    console.print(over_seeds(given.output, given.overrides))
    config = dhrd.load_config(CONFIG, [*SETTINGS, *given.overrides])
    ways = (POOLED, PAPER, BEST) if given.paper else (POOLED, BEST)
    pooled, *others = trained = [train_and_measure(way, config, given.output / way.name) for way in ways]
    best = others[-1]
    console.print(accuracies(trained, trained_on=str(config.data.train)))
    console.print("A quarter of the training labels was random; rationales argued for the true one.")
    for other in others:
        console.print(difference(pooled, other))
    console.print(
        "One seed, with fewer mails and updates than the study: another one may say otherwise. Over seeds, and against "
        "controls: docs/results."
    )
    console.print(transfer(trained))
    console.print(f"The classifiers are in {given.output}. Load one with transformers:")
    console.print(f"    pipeline('text-classification', model='{best.directory}')", soft_wrap=True)
    console.print(f"{(time.perf_counter() - began) / 60:.1f} minutes in all.")


def over_seeds(output: Path, overrides: list[str]) -> str:
    """The gain where the study claims it, on a model that is small enough for several seeds."""
    pairs = []
    for seed in SEEDS:
        rows = [f"data.train={SMALL_TRAIN.format(seed=seed)}", f"seed={seed}"]
        config = dhrd.load_config(SMALL_CONFIG, [*SMALL_SETTINGS, *rows, *overrides])
        pairs.append([train_small(way, config, output / "small" / f"{way.name}-{seed}") for way in (POOLED, BEST)])
    paired = dhrd.compare([(pooled.outcomes, best.outcomes) for pooled, best in pairs], metric="accuracy")
    reached = "; ".join(
        f"{way.title} {' '.join(format(one.metrics['accuracy'], '.3f') for one in evaluations)}"
        for way, evaluations in zip((POOLED, BEST), zip(*pairs, strict=True), strict=True)
    )
    return (
        f"A small model from random weights, {len(SEEDS)} seeds, accuracy on {paired['num_rows']} held-out mails: "
        f"{reached}. The difference is {points(paired)} over seeds)."
    )


def train_small(way: Way, config: dhrd.RunConfig, directory: Path) -> dhrd.Evaluation:
    """One way on the small model."""
    say(f"seed {config.seed}, a small model from random weights: {way.title}")
    train(way, config, directory)
    return dhrd.evaluate(directory, split="test")


def train(way: Way, config: dhrd.RunConfig, directory: Path) -> None:
    """One way: the same seed, rows, order and first head; only its settings differ."""
    settings = {name.replace(".", "__"): value for name, value in way.settings.items()}
    dhrd.train(dhrd.load_config(base=config, output_dir=str(directory), **settings), overwrite=True)


def points(paired: dict[str, Any]) -> str:
    """A paired difference in points, up to its interval."""
    low, high = (100 * end for end in paired["interval_95"] or (0, 0))
    return f"{100 * paired['difference']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}"


def train_and_measure(way: Way, config: dhrd.RunConfig, directory: Path) -> Trained:
    """One way on the real backbone, with all that is told of it."""
    say(f"SmolLM2-135M: training {way.title}")
    began = time.perf_counter()
    train(way, config, directory)
    minutes = (time.perf_counter() - began) / 60
    say(f"evaluating {way.title}")
    held_out = dhrd.evaluate(directory, split="test")
    return Trained(
        way=way,
        directory=directory,
        minutes=minutes,
        held_out=held_out,
        transfer=dhrd.evaluate(directory, TRANSFER),
        qps=queries_per_second(dhrd.Classifier.from_pretrained(directory).predict, held_out.texts[:NUM_TIMED_ROWS]),
    )


def queries_per_second(answer: Callable[[list[str]], object], texts: list[str]) -> float:
    """From text to label, after a first call that is not timed."""
    answer(texts[:1])
    began = time.perf_counter()
    answer(texts)
    return len(texts) / (time.perf_counter() - began)


def say(text: str) -> None:
    print(f"• {text} …", file=sys.stderr, flush=True)


def accuracies(classifiers: Sequence[Trained], *, trained_on: str) -> Table:
    """On held-out mail, with what an answer costs."""
    best = classifiers[-1]
    num_rows, commonest = len(best.held_out.texts), majority(best.held_out)
    table = Table(title=f"SmolLM2-135M: {num_rows} held-out mails, after training on {trained_on}")
    for column in ("way", "accuracy", "95 % interval", "queries/s", "trained in"):
        table.add_column(column, justify="left" if column == "way" else "right")
    table.add_row("always the commonest label", f"{commonest:.3f}")
    for trained in classifiers:
        cost = f"{trained.qps:.1f}", f"{trained.minutes:.1f} min"
        table.add_row(trained.way.title, *scores(trained.held_out.metrics), *cost)
    table.add_row(*chain_of_thought(best))
    return table


def chain_of_thought(trained: Trained) -> tuple[str, ...]:
    """A row of the table: the answers that the reasoning head writes on a few of the mails, together."""
    say("decoding chains of thought")
    evaluation = dhrd.evaluate(
        trained.directory, split="test", mode="cot", limit=NUM_COT_ROWS, max_new_tokens=MAX_NEW_TOKENS
    )
    metrics, num_rows = evaluation.metrics, len(evaluation.texts)
    title = f"chain of thought, {num_rows} mails, {metrics['mean_new_tokens']:.0f} tokens each"
    return title, *scores(metrics), f"{num_rows / (evaluation.decoding_s or 1):.2f}", f"with {trained.way.title}"


def scores(metrics: dict[str, Any]) -> tuple[str, str]:
    low, high = metrics["interval_95"]["accuracy"]
    return f"{metrics['accuracy']:.3f}", f"{low:.3f} to {high:.3f}"


def majority(evaluation: dhrd.Evaluation) -> float:
    """The accuracy of always answering the commonest label."""
    return float(evaluation.outcomes.gold_BC.mean(axis=0).max())


def difference(baseline: Trained, other: Trained) -> str:
    """The paired difference on the held-out mail, in points."""
    paired = dhrd.compare([(baseline.held_out.outcomes, other.held_out.outcomes)], metric="accuracy")
    name, p = f"{other.way.title} minus {baseline.way.title}", paired["mcnemar"][0]["p_value"]
    if paired["interval_95"] is None:
        return f"{name}: none; the two are right on the same mails."
    low, high = paired["interval_95"]
    told = "rows alone do not explain it" if low * high > 0 else "too small to tell from none on so few mails"
    return f"{name}: {points(paired)}, McNemar's p = {p:.3f}): {told}."


def transfer(classifiers: Sequence[Trained]) -> str:
    """Accuracies on the other shop's mail."""
    evaluation = classifiers[0].transfer
    reached = ", ".join(
        f"{trained.way.title} {' ('.join(scores(trained.transfer.metrics))})" for trained in classifiers
    )
    return (
        f"Transfer to {len(evaluation.texts)} hand-written mails of a shop with another policy, without exchanges: "
        f"{reached}; always the commonest label {majority(evaluation):.3f}."
    )


if __name__ == "__main__":
    main()
