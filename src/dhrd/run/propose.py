"""Settings from a look at a file of rows, with the reason of each: what `dhrd init` writes, and trains as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dhrd._text import shown
from dhrd.config import RunConfig
from dhrd.config.commented import Setting, resolved
from dhrd.config.section import Section
from dhrd.data.label_names import spelled
from dhrd.data.label_sets import count_rows
from dhrd.data.label_space import of_task
from dhrd.data.readers import is_read_once
from dhrd.data.records import Example
from dhrd.data.roles import ColumnLook, Role, find_roles, look_at_columns, template_of
from dhrd.data.rows import Rows, load_rows
from dhrd.data.sources import named_rows, open_source
from dhrd.data.templates import PLAIN
from dhrd.errors import DataError
from dhrd.model.choice import at_hand, choose_backbone, context_of, this_machine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MAX_MEASURED = 2000  # texts, evenly spread over the rows
_CHARACTERS_A_TOKEN = 3  # few, so that a limit made of them is rather too high
_MOST_TOKENS = 4096  # of a proposed limit
_ANSWER_TOKENS = 32  # room for the answer and the markers around it
_MULTIPLE = 32  # limits are rounded up to it
_FEWEST_FOR_DEV = 100  # rows, of which a tenth then says something
_VALIDATION = ("validation", "valid", "val", "dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long texts are.

    Args:
        unit: "tokens", or "tokens (estimated …)" where no tokenizer is at hand.
        median: Half of them are no longer.
        most: 99 of 100 are no longer.
        longest: None is longer.
    """

    unit: str
    median: int
    most: int
    longest: int

    def __str__(self) -> str:
        return f"half have up to {self.median:,} {self.unit}, 99 % up to {self.most:,}, the longest {self.longest:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Settings for a file of rows.

    Args:
        settings: In the order of the sections; those that were given have no reason.
        rows: What they read: checked as training checks them.
        labels: Rows of each label, the validation rows aside.
        columns: The columns of each of our fields.
        inputs: How long the inputs are.
    """

    settings: tuple[Setting, ...]
    rows: Rows
    labels: Counter[str]
    columns: Mapping[str, Role]
    inputs: Lengths


def propose(given: RunConfig) -> Proposal:
    """Look at `data.train`, and choose what was not given.

    Raises:
        ConfigError: A column that was given is not there.
        DataError: As in training; or no column can be the label, or the text.
    """
    source = open_source(named_rows(given.data), given.data)
    source.remarks.hush()  # the rows are loaded below
    columns = look_at_columns(source.read())
    if not columns:
        source.load()  # says what is wrong with them
    roles = find_roles(columns, given.data.columns, has_template=source.template != PLAIN)
    own = _given(given)
    begun = _merged([*_model(), *_data(given, roles, columns), *_losses(given, roles)], own)
    rows, held_out = _rows(given, begun)
    inputs, limits = _limits(resolved(begun), rows)
    first = rows.labels.slices[0]
    labels = count_rows(of_task((*rows.train, *_dev(rows)), first.name, first.columns))
    counts = spelled(f"{shown(name, 40)} {count:,}" for name, count in labels.most_common())
    told = f"{len(rows.train) + len(_dev(rows)):,} rows: {counts}"
    train = Setting("data.train", given.data.train, told)
    settings = _merged([*begun, *held_out, *limits, train], own)
    return Proposal(settings=tuple(settings), rows=rows, labels=labels, columns=roles, inputs=inputs)


def _given(config: RunConfig) -> list[Setting]:
    """What was given, which nothing takes the place of; the rows and their columns are a part of what is proposed."""
    given: list[Setting] = []
    for section, part in config.model_dump(mode="json", exclude_unset=True).items():
        named = (
            {f"{section}.{name}": value for name, value in part.items()} if isinstance(part, dict) else {section: part}
        )
        given += [Setting(name, value) for name, value in named.items() if name not in ("data.train", "data.columns")]
    return given


def _merged(proposed: Sequence[Setting], own: Sequence[Setting]) -> list[Setting]:
    """All of them, section by section, those without one last."""
    by_name = {setting.name: setting for setting in (*proposed, *own)}
    sections = [name for name, field in RunConfig.model_fields.items() if isinstance(field.default, Section)]
    return sorted(by_name.values(), key=lambda setting: [*sections, ""].index(setting.section))


def _model() -> list[Setting]:
    name, why = choose_backbone(this_machine())
    return [Setting("model.name_or_path", name, why)]


def _data(given: RunConfig, roles: Mapping[str, Role], columns: Sequence[ColumnLook]) -> Iterator[Setting]:
    """The rows and which of their columns are what."""
    yield Setting("data.train", given.data.train)
    text = roles.get("input_text")
    is_one = text is not None and len(text.columns) == 1
    mapped = {name: role.columns[0] for name, role in roles.items() if name != "input_text" or is_one}
    used = {column for role in roles.values() for column in role.columns}
    unread = ", ".join(shown(column.name, 40) for column in columns if column.name not in used)
    told = [f"{name}: {_told(name, role)}" for name, role in roles.items()]
    told += [f"not read: {unread}"] if unread and given.data.input_template == PLAIN else []
    yield Setting("data.columns", {name: column for name, column in mapped.items() if name != column}, "\n".join(told))
    if text is not None and not is_one:
        why = "What the classifier reads; leave out what a person would not need for the label."
        yield Setting("data.input_template", template_of(text, columns), why)


def _told(name: str, role: Role) -> str:
    chosen = ", ".join(shown(column, 40) for column in role.columns)
    others = ", ".join(shown(column, 40) for column in role.others)
    change = f"; it might be {others} instead: set data.columns.{name}" if others else ""
    return f"{chosen}, {role.why}{change}"


def _rows(given: RunConfig, begun: Sequence[Setting]) -> tuple[Rows, list[Setting]]:
    """The rows as training reads them, and what is held out: a file beside them, or a share of them."""
    beside = _validation_beside(str(given.data.train)) if given.data.validation is None else None
    if beside is not None and not given.data.dev_share:
        held_out = Setting("data.validation", beside, "Lies beside the training rows.")
        try:
            return load_rows(resolved([*begun, held_out])), [held_out]
        except DataError:  # whatever it is, it is not of these rows
            pass
    rows = load_rows(resolved(begun))
    if rows.choose or len(rows.train) < _FEWEST_FOR_DEV:
        return rows, []
    why = "No validation rows are given (data.validation): this share is held out, to choose the best epoch by."
    return rows, [Setting("data.dev_share", 0.1, why), Setting("training.selection", "best", "Of all epochs.")]


def _validation_beside(spec: str) -> str | None:
    """A file that the name of another says is its validation part: `train.csv` has `validation.csv`."""
    path = Path(spec).expanduser()
    if is_read_once(path) or not path.is_file() or "train" not in path.name:
        return None
    names = (path.name.replace("train", split) for split in _VALIDATION)
    return next((str(path.with_name(name)) for name in names if path.with_name(name).is_file()), None)


def _limits(config: RunConfig, rows: Rows) -> tuple[Lengths, list[Setting]]:
    """The limits of tokens that cut one row of a hundred, within what the backbone can read."""
    place = at_hand(config.model.name_or_path)
    examples = rows.train[:: max(1, len(rows.train) // _MAX_MEASURED)]
    inputs, unit = _num_tokens([example.rendered[1] if example.rendered else "" for example in examples], place)
    reasons, _ = _num_tokens([example.rationale or "" for example in examples], place)
    most = min(_MOST_TOKENS, (place and context_of(place)) or _MOST_TOKENS)
    sequence = min(most, _round_up(_share(inputs + reasons, 99) + _ANSWER_TOKENS))
    limit = min(_round_up(_share(inputs, 99)), sequence - _ANSWER_TOKENS)
    lengths = Lengths(unit=unit, median=_share(inputs, 50), most=_share(inputs, 99), longest=int(inputs.max()))
    why = "The input with its rationale and answer." if reasons.any() else "The input with its answer."
    return lengths, [
        Setting("data.max_input_tokens", limit, f"Of the inputs {lengths}; what is longer is shortened."),
        Setting("data.max_sequence_tokens", sequence, why),
    ]


def _num_tokens(texts: Sequence[str], place: str | None) -> tuple[np.ndarray, str]:
    """The tokens of each text, (texts,), and what they are counted in."""
    if place is None:
        counts = [ceil(len(text) / _CHARACTERS_A_TOKEN) for text in texts]
        return np.array(counts), f"tokens (estimated, {_CHARACTERS_A_TOKEN} characters each: no tokenizer is here yet)"
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
    """Without rationales there is one loss."""
    if "rationale" not in roles and given.data.rationales is None:
        why = (
            "The rows have no rationales, so this is the pooled baseline. Once they have (dhrd rationales generate "
            "asks a teacher; data.rationales names its file) run dhrd init again: they need longer sequences, too."
        )
        yield Setting("loss.reasoning_weight", 0, why)


def _dev(rows: Rows) -> list[Example]:
    return rows.choose if rows.has_dev else []


def as_json(proposal: Proposal) -> dict[str, Any]:
    """A proposal for a program."""
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
