"""Reports to render: a study of invented numbers, one of speed, one with chosen settings, one of hardly anything."""

from __future__ import annotations

import base64
import itertools
import math
import random
import re
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from dhrd.experiments.report import figures, render
from dhrd.experiments.report.schema import Report

SVG = "{http://www.w3.org/2000/svg}"
DATA = "data:image/svg+xml;base64,"
_VOID = {"meta", "br", "link", "img", "input", "hr"}
TASKS = {
    "boolq": (["accuracy"], 3270, 0.62),
    "cb": (["macro_f1", "accuracy"], 56, 0.5),
    "copa": (["accuracy"], 100, 0.55),
    "multirc": (["f1a", "em"], 4848, 0.57),
    "rte": (["accuracy"], 277, 0.53),
    "wic": (["accuracy"], 638, 0.5),
    "wsc": (["accuracy"], 104, 0.63),
}
TITLES = {
    "pooled": "pooled baseline",
    "dhrd": "DHRD",
    "cot": "chain of thought",
    "label_only": "DHRD, label only",
    "shuffled": "DHRD, rationale shuffled",
    "shuffled_with_label": "DHRD, rationale and label shuffled",
}
GAINS = {
    "pooled": 0.0,
    "dhrd": 0.021,
    "cot": -0.015,
    "label_only": 0.004,
    "shuffled": -0.03,
    "shuffled_with_label": -0.2,
}


def full_report(
    arms: Sequence[str] = ("pooled", "dhrd"), num_seeds: int = 5, seed: int = 0, num_tasks: int = len(TASKS)
) -> dict[str, Any]:
    """Seven tasks, or the first few, on one backbone with everything that a study can have."""
    rng = random.Random(seed)
    tasks = [_task(rng, name, arms, num_seeds) for name in list(TASKS)[:num_tasks]]
    firsts = {arm: [_mean_of(task, arm) for task in tasks] for arm in arms}
    average = {arm: sum(means) / len(means) for arm, means in firsts.items()}
    primary = _primary(rng, tasks, num_seeds) if len(arms) == 2 else None
    gains = {arm: 100 * (average[arm] / average[arms[0]] - 1) for arm in arms[1:]}
    return {
        "format_version": 1,
        "study": "main",
        "title": "Pooled baseline against DHRD (paper, Table 1)",
        "question": "Does training the backbone to write a teacher's rationale make its pooled classifier better?",
        "answer": f"DHRD gains {gains[arms[1]]:.1f} % on the pooled baseline, on average over {num_tasks} tasks.",
        "primary": primary,
        "command": f"dhrd reproduce main --tasks {','.join(TASKS)} --seeds {num_seeds}",
        "created": "2026-11-24",
        "environments": [
            {"device": "cpu, 2 cores", "versions": {"torch": "2.13.0", "transformers": "5.17.0"}, "num_cells": 10},
            {"device": "NVIDIA H100 80GB", "versions": {"torch": "2.13.0+cu130"}, "num_cells": 60},
        ],
        "backbones": [
            {
                "name": "SmolLM2-135M",
                "average": average,
                "average_over": [task["task"] for task in tasks],
                "relative_gain_percent": gains,
                "tasks": tasks,
            },
        ],
        "paper": [
            {"what": "average relative gain", "where": "Table 1, Llama-3.2-3B", "value": "+5.47 %"},
            {"what": "average relative gain", "where": "Table 1, Llama-3.1-8B", "value": "+1.43 %"},
        ],
        "undone": [{"cell": "rte · SmolLM2-135M · dhrd · seed 4", "why": "not run"}],
        "limits": [
            "One backbone of 135 million parameters: nothing is said about larger ones.",
            "The teacher saw the gold label of each training row.",
        ],
        "settings": {"training.learning_rate": 1e-4, "training.epochs": 3, "training.effective_batch_size": 32},
        "arm_settings": {"pooled": {"loss.reasoning_weight": 0}, "dhrd": {"loss.reasoning_weight": 1.0}},
    }


def throughput_report(num_tasks: int = len(TASKS)) -> dict[str, Any]:
    """Three arms with their speeds; chain of thought is slow and sometimes cannot be read."""
    report = full_report(("pooled", "dhrd", "cot"), num_seeds=1, seed=1, num_tasks=num_tasks)
    rng = random.Random(2)
    for task in report["backbones"][0]["tasks"]:
        for arm in task["arms"]:
            arm["speed"] = _speed(rng, arm["arm"], arm["mean"][task["metrics"][0]])
            arm["curve"], arm["calibration"] = [], None
            if arm["arm"] == "cot":
                arm["mean_new_tokens"] = arm["speed"]["mean_new_tokens"]
                arm["unparsable"] = arm["speed"]["unparsable_share"]
    return {
        **report,
        "study": "throughput",
        "title": "Accuracy against queries per second (paper, Table 5)",
        "question": "What does an answer cost when the model writes its reasoning first?",
        "answer": "Pooled and DHRD answer about 60 times as many queries per second as chain of thought.",
    }


def tuned_report(num_tasks: int = 2) -> dict[str, Any]:
    """Settings chosen by cross-validation on training rows: the better of two learning rates for each task and arm."""
    report = full_report(num_seeds=2, num_tasks=num_tasks)
    for task in report["backbones"][0]["tasks"]:
        for arm in task["arms"]:
            level = arm["mean"][task["metrics"][0]]
            arm["chosen"] = {"training.learning_rate": 3e-4}
            for rate, value in ((1e-4, level - 0.031), (3e-4, level - 0.017)):
                report.setdefault("choices", []).append(
                    {
                        "task": task["task"],
                        "backbone": "SmolLM2-135M",
                        "arm": arm["arm"],
                        "settings": {"training.learning_rate": rate},
                        "metric": task["metrics"][0],
                        "value": value,
                        "num_folds": 5,
                        "chosen": rate == 3e-4,
                        "selected_on": True,
                    }
                )
    return report


def without_panels(report: dict[str, Any]) -> dict[str, Any]:
    """The report without what takes a drawing for each task."""
    for backbone in report["backbones"]:
        for task in backbone["tasks"]:
            for arm in task["arms"]:
                arm |= {"calibration": None, "curve": [], "speed": None}
    return report


def minimal_report() -> dict[str, Any]:
    """A study that has hardly begun: nulls wherever the format allows them."""
    arms = [{"arm": "pooled", "title": "pooled baseline", "seeds": [], "mean": {}, "calibration": None, "speed": None}]
    task = {"task": "cb", "metrics": ["macro_f1", "accuracy"], "num_validation": 56, "arms": arms, "comparisons": []}
    return {
        "format_version": 1,
        "study": "main",
        "title": "Pooled baseline against DHRD",
        "question": "Is DHRD better?",
        "answer": "Nothing can be said yet.",
        "primary": None,
        "backbones": [{"name": "SmolLM2-135M", "average": {}, "relative_gain_percent": {}, "tasks": [task]}],
        "undone": [{"cell": "cb · SmolLM2-135M · dhrd · seed 0", "why": "not run"}],
    }


def _task(rng: random.Random, name: str, arms: Sequence[str], num_seeds: int) -> dict[str, Any]:
    metrics, num_validation, majority = TASKS[name]
    level = rng.uniform(0.55, 0.8)
    cells = [_cell(rng, arm, metrics, level, num_validation, num_seeds, number) for number, arm in enumerate(arms)]
    return {
        "task": name,
        "metrics": metrics,
        "num_validation": num_validation,
        "num_train": 5 * num_validation,
        "num_with_rationale": 4 * num_validation,
        "majority_share": majority,
        "arms": cells,
        "comparisons": [
            _comparison(rng, cells[0], cell, metric, num_validation) for cell in cells[1:] for metric in metrics
        ],
    }


def _cell(
    rng: random.Random,
    arm: str,
    metrics: Sequence[str],
    level: float,
    num_validation: int,
    num_seeds: int,
    number: int,
) -> dict[str, Any]:
    gain = GAINS[arm] + rng.uniform(-0.02, 0.02)
    seeds = [
        {"seed": one, "values": {m: level + gain - 0.15 * (m == "em") + rng.gauss(0, 0.012) for m in metrics}}
        for one in range(num_seeds)
    ]
    mean = {metric: sum(one["values"][metric] for one in seeds) / num_seeds for metric in metrics}
    half = 1.96 * math.sqrt(0.25 / num_validation)
    return {
        "arm": arm,
        "title": TITLES[arm],
        "seeds": seeds,
        "mean": mean,
        "interval_95": {metric: [mean[metric] - half, min(1.0, mean[metric] + half)] for metric in metrics[:1]},
        "interval_method": "Wilson's score interval",
        "selected_on": num_validation == 56,
        "calibration": _calibration(rng, mean[metrics[0]], num_validation),
        "seconds": rng.uniform(200, 4000) * (1 + number),
        "train_tokens": rng.randrange(10**5, 10**7),
        "curve": _curve(rng, arm),
        "speed": None,
    }


def _comparison(
    rng: random.Random, baseline: dict[str, Any], other: dict[str, Any], metric: str, num_rows: int
) -> dict[str, Any]:
    pairs = zip(baseline["seeds"], other["seeds"], strict=True)
    differences = [two["values"][metric] - one["values"][metric] for one, two in pairs]
    mean = sum(differences) / len(differences)
    half = 2.2 * math.sqrt(0.2 / num_rows / len(differences)) + 0.004
    p_value = math.erfc(abs(mean) / half * 1.96 / math.sqrt(2))
    lone = len(differences) == 1
    return {
        "baseline": baseline["arm"],
        "other": other["arm"],
        "metric": metric,
        "difference": mean,
        "interval_95": [mean - half, mean + half],
        "interval_method": "rows bootstrapped in pairs" if lone else "seeds and rows bootstrapped in pairs",
        "rows_interval_95": None if lone else [mean - 0.8 * half, mean + 0.8 * half],
        "p_value": p_value,
        "p_holm": min(1.0, 7 * p_value),
        "seed_differences": differences,
        "mcnemar": [
            {"only_baseline": rng.randrange(1, 20), "only_other": rng.randrange(1, 30), "p_value": rng.random()}
            for _ in differences
        ],
        "smallest_told": 1.4 * half,
        "num_rows": num_rows,
        "num_seeds": len(differences),
        "verdict": ("better" if mean > 0 else "worse") if abs(mean) > half else "not told apart",
    }


def _primary(rng: random.Random, tasks: Sequence[dict[str, Any]], num_seeds: int) -> dict[str, Any]:
    firsts = [task["comparisons"][0] for task in tasks]
    seeds = [sum(one["seed_differences"][seed] for one in firsts) / len(firsts) for seed in range(num_seeds)]
    mean = sum(seeds) / len(seeds)
    return {
        "difference": mean,
        "interval_95": [mean - 0.009, mean + 0.009],
        "interval_method": "seeds and rows bootstrapped in pairs, tasks as they are",
        "p_value": 0.0042,
        "num_tasks": len(tasks),
        "num_seeds": num_seeds,
        "seed_differences": seeds,
        "verdict": "better",
        "rows_interval_95": [mean - 0.007, mean + 0.007],
    }


def _mean_of(task: dict[str, Any], arm: str) -> float:
    return next(float(cell["mean"][task["metrics"][0]]) for cell in task["arms"] if cell["arm"] == arm)


def _calibration(rng: random.Random, accuracy: float, num_rows: int) -> dict[str, Any]:
    edges = [0.5 + 0.05 * number for number in range(11)]
    bins = [
        {
            "low": low,
            "high": high,
            "confidence": (low + high) / 2,
            "accuracy": min(1.0, max(0.0, (low + high) / 2 - 0.08 + rng.gauss(0, 0.05))),
            "count": round(num_rows * rng.uniform(0.02, 0.2)),
        }
        for low, high in itertools.pairwise(edges)
    ]
    num_points = min(num_rows, 400)
    coverage = [(number + 1) / num_points for number in range(num_points)]
    risk = [(1 - accuracy) * (0.25 + 0.75 * share**1.5) for share in coverage]
    return {
        "ece": rng.uniform(0.02, 0.15),
        "brier": rng.uniform(0.2, 0.4),
        "log_loss": rng.uniform(0.4, 0.8),
        "temperature": rng.choice([None, rng.uniform(1, 2)]),
        "reliability": bins,
        "risk_coverage": [
            {"coverage": one, "risk": two, "threshold": 1 - 0.5 * one} for one, two in zip(coverage, risk, strict=True)
        ],
        "aurc": sum(risk) / num_points,
    }


def _curve(rng: random.Random, arm: str, num_steps: int = 300) -> list[dict[str, Any]]:
    gain = 1.4 if arm == "dhrd" else 1.0
    return [
        {
            "step": step,
            "classification_loss": 0.25 + math.exp(-gain * step / 90) + abs(rng.gauss(0, 0.08)),
            "lm_loss": None if arm == "pooled" else 1.9 + 1.4 * math.exp(-step / 60) + rng.gauss(0, 0.06),
        }
        for step in range(1, num_steps + 1)
    ]


def _speed(rng: random.Random, arm: str, accuracy: float) -> dict[str, Any]:
    decodes = arm == "cot"
    rate = rng.uniform(0.3, 0.7) if decodes else rng.uniform(25, 40)
    return {
        "queries_per_second": rate,
        "min": 0.95 * rate,
        "max": 1.06 * rate,
        "num_queries": 64,
        "engine": "transformers, batch 16",
        "mean_new_tokens": rng.uniform(40, 120) if decodes else 0,
        "unparsable_share": rng.uniform(0.02, 0.2) if decodes else None,
        "accuracy": accuracy,
        "device": "cpu",
    }


def html(report: dict[str, Any]) -> str:
    """The page of a report's JSON."""
    return render.html(Report.model_validate(report))


def markdown(report: dict[str, Any]) -> str:
    """The Markdown of a report's JSON."""
    return render.markdown(Report.model_validate(report))


def write_report(report: dict[str, Any], directory: Path) -> list[Path]:
    """Write the files of a report's JSON."""
    return render.write_report(Report.model_validate(report), directory)


class Elements(HTMLParser):
    """Every element of a page with its attributes; unclosed or crossed elements fail."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == name]


def drawn(report: dict[str, Any]) -> dict[str, int]:
    """How many drawings a report has of each kind, where there are any."""
    return {name: len(found) for name, found in figures.draw(Report.model_validate(report)).items() if found}


def task_of(report: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """A task of the first backbone."""
    return report["backbones"][0]["tasks"][number]


def figures_of(page: str) -> list[str]:
    """The files of a page's figures."""
    sources = [found["src"] or "" for found in Elements(page).of("img")]
    return [base64.b64decode(source.removeprefix(DATA)).decode() for source in sources]


def words(page: str) -> str:
    """The text that a page shows outside of its figures."""
    shown = re.sub(r"<style>.*?</style>|<figure.*?</figure>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", shown)))


def by_rows_report() -> dict[str, Any]:
    """Two arms at three numbers of training rows, with and without noise, and at a single number with other hops."""
    conditions = [(rows, 3, noise) for noise in (0.0, 0.25) for rows in (100, 400, 1600)] + [(400, 1, 0.0)]

    def cell(name: str, rows: int, noise: float) -> dict[str, Any]:
        seeds = [
            {"seed": seed, "values": {"accuracy": 0.6 + rows / 1e4 - noise / 2 + 0.01 * seed}} for seed in range(4)
        ]
        return {"arm": name, "title": name.title(), "seeds": seeds}

    tasks = [
        {
            "task": f"rows{rows}-hops{hops}-noise{noise}",
            "factors": {"rows": rows, "hops": hops, "noise": noise},
            "metrics": ["accuracy"],
            "arms": [cell(name, rows, noise) for name in ("pooled", "dhrd")],
        }
        for rows, hops, noise in conditions
    ]
    return {"study": "controlled", "backbones": [{"name": "b", "tasks": tasks}]}
