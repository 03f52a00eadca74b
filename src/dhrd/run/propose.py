"""Propose settings for a file of rows, with a reason for each, as written by `dhrd init`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dhrd._text import shown
from dhrd.config import RunConfig
from dhrd.config.commented import Setting, resolved
from dhrd.config.section import Section
from dhrd.data.columns import ColumnLook, look_at_columns
from dhrd.data.label_names import spelled
from dhrd.data.label_sets import count_rows
from dhrd.data.label_space import of_task
from dhrd.data.readers import is_read_once
from dhrd.data.records import Example
from dhrd.data.roles import Role, find_roles, template_of
from dhrd.data.rows import Rows, load_rows
from dhrd.data.sources import named_rows, open_source
from dhrd.data.templates import PLAIN
from dhrd.errors import ColumnError, DataError
from dhrd.model.choice import at_hand, choose_backbone, context_of, this_machine
from dhrd.model.location import SCRATCH

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger("dhrd")

_MAX_MEASURED = 2000  # texts, sampled evenly over the rows
_CHARACTERS_A_TOKEN = 3  # a low estimate, so that limits are rather too high
_MOST_TOKENS = 4096  # upper bound of a proposed limit
_ANSWER_TOKENS = 32  # room for the answer and the markers around it
_MULTIPLE = 32  # limits are rounded up to a multiple of it
_FEWEST_FOR_DEV = 100  # rows, so that a tenth of them is meaningful
_VALIDATION = ("validation", "valid", "val", "dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """The distribution of text lengths.

    Args:
        unit: "tokens", or "tokens (estimated …)" if no tokenizer is available.
        median: The median length.
        most: The 99th percentile.
        longest: The maximum.
    """

    unit: str
    median: int
    most: int
    longest: int

    def __str__(self) -> str:
        return f"half have up to {self.median:,} {self.unit}, 99 % up to {self.most:,}, the longest {self.longest:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Proposed settings for a file of rows.

    Args:
        settings: The settings, in the order of the sections; given ones have no reason.
        rows: The rows they read, checked as for training.
        labels: Number of rows per label, without the validation rows.
        columns: The columns used for each field.
        inputs: The lengths of the inputs.
    """

    settings: tuple[Setting, ...]
    rows: Rows
    labels: Counter[str]
    columns: Mapping[str, Role]
    inputs: Lengths


def propose(given: RunConfig) -> Proposal:
    """Inspect `data.train`, and choose the settings that were not given.

    Raises:
        ConfigError: A given column does not exist.
        DataError: The rows are invalid, or no column can be the label or the text.
    """
    source = open_source(named_rows(given.data), given.data)
    source.remarks.hush()  # the rows are loaded below
    columns = look_at_columns(source.read())
    if not columns:
        source.load()  # raises the error about the rows
    roles = find_roles(columns, given.data.columns, has_template=source.template != PLAIN)
    if roles["label"].is_close:
        logger.warning("label: %s", _reason("label", roles["label"]))
    own = _given(given)
    begun = _merged([*_model(), *_data(given, roles, columns), *_losses(given, roles), *_from_scratch(given)], own)
    rows, held_out = _rows(given, begun)
    inputs, limits = _limits(resolved(begun), rows)
    first = rows.labels.slices[0]
    labels = count_rows(of_task((*rows.train, *_dev(rows)), first.name, first.columns))
    counts = spelled(f"{shown(name, 40)} {count:,}" for name, count in labels.most_common())
    counted = f"{len(rows.train) + len(_dev(rows)):,} rows: {counts}"
    train = Setting("data.train", given.data.train, counted)
    settings = _merged([*begun, *held_out, *limits, train], own)
    return Proposal(settings=tuple(settings), rows=rows, labels=labels, columns=roles, inputs=inputs)


def _given(config: RunConfig) -> list[Setting]:
    """The given settings, which are kept as they are; rows and columns are left to the proposal."""
    given: list[Setting] = []
    for section, part in config.model_dump(mode="json", exclude_unset=True).items():
        named = (
            {f"{section}.{name}": value for name, value in part.items()} if isinstance(part, dict) else {section: part}
        )
        given += [Setting(name, value) for name, value in named.items() if name not in ("data.train", "data.columns")]
    return given


def _merged(proposed: Sequence[Setting], own: Sequence[Setting]) -> list[Setting]:
    """Merge settings by section; those without a section come last."""
    by_name = {setting.name: setting for setting in (*proposed, *own)}
    sections = [name for name, field in RunConfig.model_fields.items() if isinstance(field.default, Section)]
    return sorted(by_name.values(), key=lambda setting: [*sections, ""].index(setting.section))


def _model() -> list[Setting]:
    name, why = choose_backbone(this_machine())
    return [Setting("model.name_or_path", name, why)]


def _data(given: RunConfig, roles: Mapping[str, Role], columns: Sequence[ColumnLook]) -> Iterator[Setting]:
    """Settings for the rows and their columns."""
    yield Setting("data.train", given.data.train)
    text = roles.get("input_text")
    is_one = text is not None and len(text.columns) == 1
    mapped = {name: role.columns[0] for name, role in roles.items() if name != "input_text" or is_one}
    used = {column for role in roles.values() for column in role.columns}
    weighs = "weight" in {column.name for column in columns} - used and given.data.input_template == PLAIN
    used |= {"weight"} if weighs else set()
    used |= {"rationale"} - roles.keys()  # read by its name, though it is no text to learn from
    unread = ", ".join(shown(column.name, 40) for column in columns if column.name not in used)
    reasons = [f"{name}: {_reason(name, role)}" for name, role in roles.items()]
    reasons += ["weight: 'weight', by its name: how much the row's label counts; rename it if it is none"] * weighs
    reasons += [f"not read: {unread}"] if unread and given.data.input_template == PLAIN else []
    yield Setting(
        "data.columns", {name: column for name, column in mapped.items() if name != column}, "\n".join(reasons)
    )
    if text is not None and not is_one:
        why = "The classifier's input; leave out what a person would not need to find the label."
        yield Setting("data.input_template", template_of(text, columns), why)


def _reason(name: str, role: Role) -> str:
    chosen = ", ".join(shown(column, 40) for column in role.columns)
    others = ", ".join(shown(column, 40) for column in role.others)
    change = f"; it might be {others} instead: set data.columns.{name}" if others else ""
    return f"{chosen}, {role.why}{change}"


def _from_scratch(given: RunConfig) -> Iterator[Setting]:
    """Random weights hardly move at a rate for pretrained ones, within the epochs for these."""
    if given.model.name_or_path.startswith(SCRATCH):
        why = "For random weights of a few layers; less for more. Pretrained ones take 5e-5, and 3 epochs."
        yield Setting("training.learning_rate", 3e-3, why)
        yield Setting("training.num_epochs", 6)


def _rows(given: RunConfig, begun: Sequence[Setting]) -> tuple[Rows, list[Setting]]:
    """The rows as read by training, and settings for what is held out: a file beside them, or a share."""
    beside = _validation_beside(str(given.data.train)) if given.data.validation is None else None
    if beside is not None and not given.data.dev_share:
        held_out = Setting("data.validation", beside, "Found beside the training rows.")
        config = resolved([*begun, held_out])
        if not (lacking := _lacking(config)):
            return load_rows(config), [held_out]
        logger.warning("%s is not used, though it lies beside the training rows: %s", beside, lacking)
    rows = load_rows(resolved(begun))
    if rows.choose or len(rows.train) < _FEWEST_FOR_DEV:
        return rows, []
    why = "No validation rows are given (data.validation), so this share is held out to choose the best epoch."
    return rows, [Setting("data.dev_share", 0.1, why), Setting("training.selection", "best", "Keep the best epoch.")]


def _lacking(config: RunConfig) -> str:
    """What is said of the validation rows if none of them has the columns; "" where only some are bad."""
    source = open_source(config.data.validation, config.data, split="validation", tasks=config.tasks)
    source, limit = replace(source, weighs=False), config.data.validation_limit
    source.remarks.hush()  # the rows are loaded elsewhere
    try:
        source.load(limit=limit)
    except ColumnError as error:
        if next(source.examples(limit=limit, refuse=lambda row, problem: None), None) is None:
            return str(error).partition("\n")[0]
    except DataError:  # raised once more where the rows are loaded
        pass
    return ""


def _validation_beside(spec: str) -> str | None:
    """The validation file that belongs to a file by name: `validation.csv` for `train.csv`."""
    path = Path(spec).expanduser()
    if is_read_once(path) or not path.is_file() or "train" not in path.name:
        return None
    names = (path.name.replace("train", split) for split in _VALIDATION)
    return next((str(path.with_name(name)) for name in names if path.with_name(name).is_file()), None)


def _limits(config: RunConfig, rows: Rows) -> tuple[Lengths, list[Setting]]:
    """Token limits that truncate about one row in a hundred, within the backbone's context."""
    place = at_hand(config.model.name_or_path)
    examples = rows.train[:: max(1, len(rows.train) // _MAX_MEASURED)]
    inputs, unit = _num_tokens([example.rendered[1] if example.rendered else "" for example in examples], place)
    reasons, _ = _num_tokens([example.rationale or "" for example in examples], place)
    most = min(_MOST_TOKENS, (place and context_of(place)) or _MOST_TOKENS)
    sequence = min(most, _round_up(_share(inputs + reasons, 99) + _ANSWER_TOKENS))
    limit = min(_round_up(_share(inputs, 99)), sequence - _ANSWER_TOKENS)
    lengths = Lengths(unit=unit, median=_share(inputs, 50), most=_share(inputs, 99), longest=int(inputs.max()))
    why = "Input, rationale and answer together." if reasons.any() else "Input and answer together."
    return lengths, [
        Setting("data.max_input_tokens", limit, f"Of the inputs, {lengths}; longer ones are truncated."),
        Setting("data.max_sequence_tokens", sequence, why),
    ]


def _num_tokens(texts: Sequence[str], place: str | None) -> tuple[np.ndarray, str]:
    """The number of tokens of each text, (texts,), and their unit."""
    if place is None:
        counts = [ceil(len(text) / _CHARACTERS_A_TOKEN) for text in texts]
        return np.array(counts), f"tokens (estimated, {_CHARACTERS_A_TOKEN} characters each; no tokenizer available)"
    tokenizer = _tokenizer(place)
    return np.array([len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]), "tokens"


def _tokenizer(place: str) -> PreTrainedTokenizerBase:
    from dhrd.model.backbone import load_tokenizer  # loads torch

    return load_tokenizer(place)


def _share(counts: np.ndarray, percent: int) -> int:
    return int(np.percentile(counts, percent, method="higher"))


def _round_up(count: int) -> int:
    return max(1, ceil(count / _MULTIPLE)) * _MULTIPLE


def _losses(given: RunConfig, roles: Mapping[str, Role]) -> Iterator[Setting]:
    """Without rationales, turn off the reasoning loss."""
    if "rationale" not in roles and given.data.rationales is None:
        why = (
            "The rows have no rationales, so this is the pooled baseline. Once they have (dhrd rationales generate "
            "asks a teacher; data.rationales names its file) run dhrd init again: they need longer sequences, too."
        )
        yield Setting("loss.reasoning_weight", 0, why)


def _dev(rows: Rows) -> list[Example]:
    return rows.choose if rows.has_dev else []


def as_json(proposal: Proposal) -> dict[str, Any]:
    """A proposal as JSON."""
    return {
        "settings": {setting.name: setting.value for setting in proposal.settings},
        "why": {setting.name: setting.why for setting in proposal.settings if setting.why},
        "columns": {
            name: {"columns": list(role.columns), "why": role.why, "others": list(role.others)}
            for name, role in proposal.columns.items()
        },
        "num_rows": len(proposal.rows.train) + len(_dev(proposal.rows)),
        "labels": dict(proposal.labels.most_common()),
        "input_tokens": {
            "unit": proposal.inputs.unit,
            "median": proposal.inputs.median,
            "p99": proposal.inputs.most,
            "longest": proposal.inputs.longest,
        },
    }
