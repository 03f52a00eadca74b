"""What a study is: arms that differ in a few settings, and which of them is compared with which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pydantic import JsonValue

Read = Literal["head", "decode", "label_scores", "embeddings", "encoder"]
Settings = Mapping[str, JsonValue]
"""Values by dotted name."""
Grid = Mapping[str, tuple[JsonValue, ...]]
"""The values to choose from, by dotted name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to train and to read an answer.

    Args:
        name: In file names and on the command line.
        title: In tables.
        settings: What differs from the base settings, by dotted name.
        read: How labels are read: by the classification `head`; by `decode`, chain of thought with the reasoning head;
            by `label_scores`, the LM head's probability of each label's words; without the backbone, by logistic
            regression on `embeddings`, or by a fine-tuned `encoder`.
        trained: Whether the backbone is trained at all; `head` always is.
        baselines: The arms that this one is compared with, where they are run too; the first is its gain's measure.
        speed: Whether queries per second are measured too.
        engine: What decodes: `transformers`, or `vllm` where it is installed.
        encoder: What `embeddings` and `encoder` load, as `model.name_or_path`; other arms have none.
        optional: Only run where `--arms` names it.
        grid: Settings to choose by cross-validation on the training rows: their values, by dotted name.
    """

    name: str
    title: str
    settings: Settings = field(default_factory=dict)
    read: Read = "head"
    trained: bool = True
    baselines: tuple[str, ...] = ()
    speed: bool = False
    engine: Literal["transformers", "vllm"] = "transformers"
    encoder: str | None = None
    optional: bool = False
    grid: Grid = field(default_factory=dict)

    @property
    def in_text(self) -> str:
        """The title as it stands in a sentence."""
        return f"the {self.title}" if self.title.startswith(("pooled baseline", "LM loss")) else self.title


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A task that a study brings along: rows to train and to evaluate on.

    Args:
        name: As a task's: in file names, tables and `--tasks`.
        settings: By dotted name, its rows among them, for what the user's settings leave open.
        factors: What the study varies, for its figures.
        arms: Names of the study's arms that are run here; empty: all.
        num_seeds: Unless `--seeds` says otherwise.
    """

    name: str
    settings: Settings
    factors: Mapping[str, float] = field(default_factory=dict)
    arms: tuple[str, ...] = ()
    num_seeds: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A table or a figure.

    Args:
        name: `dhrd reproduce NAME`.
        title: Its heading.
        question: What it asks, in one sentence.
        arms: In the order of the table.
        primary: The baseline and the arm of the study's first question.
        paper: What the paper reports, as `what`, `where`, `value`, to stand beside it.
        limits: What cannot be concluded however it comes out.
        conditions: Its own tasks; empty: those that the settings name.
        settings: By dotted name, for what the user's settings leave open.
    """

    name: str
    title: str
    question: str
    arms: tuple[Arm, ...]
    primary: tuple[str, str]
    paper: tuple[Mapping[str, str], ...] = ()
    limits: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    settings: Settings = field(default_factory=dict)

    def condition(self, task: str) -> Condition | None:
        """The condition that a task is; None where it is none of the study's own."""
        return next((condition for condition in self.conditions if condition.name == task), None)

    def arm(self, name: str) -> Arm:
        """An arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)


_NO_REASONS: Settings = {"loss.keyword_weight": 0.0, "loss.privileged_weight": 0.0}
LABELS_ALONE: Settings = {"loss.reasoning_weight": 0.0, **_NO_REASONS}
"""Settings of arms that learn from no rationale, whatever losses the user's settings have for the others."""

POOLED = Arm(name="pooled", title="pooled baseline", settings=LABELS_ALONE)
LM_ON_X = Arm(
    name="lm_on_x",
    title="LM loss on the input",
    settings={"loss.lm_targets": "input", **_NO_REASONS},
    baselines=("pooled",),
)
LABEL_ONLY = Arm(
    name="label_only",
    title="label words, no rationale",
    settings={"data.rationale_mode": "label_only"},
    baselines=("pooled", "lm_on_x"),
)
SHUFFLED = Arm(
    name="shuffled",
    title="shuffled rationales",
    settings={"data.rationale_mode": "shuffled"},
    baselines=("pooled", "lm_on_x"),
)
DHRD = Arm(name="dhrd", title="DHRD", baselines=("pooled", "lm_on_x", "shuffled"))
KEYWORDS = Arm(
    name="keywords",
    title="rationale's words",
    settings={"loss.reasoning_weight": 0.0, "loss.keyword_weight": 1.0},
    baselines=("pooled", "lm_on_x", "keywords_shuffled"),
)
PRIVILEGED = Arm(
    name="privileged",
    title="privileged",
    settings={"loss.privileged_weight": 1.0, "loss.classification_weight": 0.2},
    baselines=("pooled", "lm_on_x", "privileged_shuffled", "dhrd"),
)
BEST_SETTINGS: Settings = {
    "loss.privileged_weight": 1.0,
    "loss.keyword_weight": 1.0,
    "loss.classification_weight": 0.2,
}
"""What round 1 of docs/results chose."""
BEST = Arm(
    name="best",
    title="DHRD+",
    settings=BEST_SETTINGS,
    baselines=("pooled", "lm_on_x", "shuffled", "best_shuffled", "dhrd"),
)


def shuffled(arm: Arm) -> Arm:
    """An arm's own control: the same with another row's rationale."""
    return replace(
        arm,
        name=f"{arm.name}_shuffled",
        title=f"{arm.title}, shuffled",
        settings={**arm.settings, "data.rationale_mode": "shuffled"},
        baselines=("pooled", "lm_on_x"),
    )


STUDENT = Arm(
    name="cot_student",
    title="CoT student",
    settings={"loss.classification_weight": 0.0, "loss.reasoning_weight": 1.0},
    read="decode",
    baselines=("pooled",),
)
