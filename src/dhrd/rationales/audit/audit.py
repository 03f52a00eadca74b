"""The audit: read a file of rationales and the rows it belongs to, run every check, keep what each row shows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median

from dhrd.config import DataSettings, RunConfig
from dhrd.data.rationales import read_rationale
from dhrd.data.readers import read_file
from dhrd.data.records import Example
from dhrd.data.row import BadRow
from dhrd.data.rows import label_set
from dhrd.data.sources import open_source
from dhrd.data.templates import ROW, InputTemplate
from dhrd.errors import ConfigError, DataError
from dhrd.rationales.audit.alignment import Alignment, measure_alignment
from dhrd.rationales.audit.flags import KINDS, Audited, Flag
from dhrd.rationales.audit.form import CHECKS, beginnings
from dhrd.rationales.audit.leak import LeakPatterns, MeasuredLeak, find_leak, leak_patterns, measure_leak
from dhrd.rationales.audit.text import words


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The findings about a file of rationales.

    Args:
        rationales: The file.
        data: The rows.
        num_rows: Rows of the data.
        missing: Ids of rows that have no rationale.
        lines: Lines of the file, in its order.
        leak: How well the label can be predicted from the rationale.
        alignment: How well a rationale identifies its row among others.
        beginnings: The most common first three words, with the share of rows that begin with them.
        patterns: What counted as naming a label.
    """

    rationales: str
    data: str
    num_rows: int
    missing: list[str]
    lines: list[Audited]
    leak: MeasuredLeak
    alignment: Alignment
    beginnings: list[tuple[str, float]]
    patterns: LeakPatterns

    @property
    def counts(self) -> dict[str, int]:
        """Number of lines with each kind of flag, including zeros; `worthless` only if a model was asked."""
        found = Counter(flag.kind for line in self.lines for flag in line.flags)
        return {kind: found[kind] for kind in KINDS if kind != "worthless" or self.worths}

    @property
    def worths(self) -> list[float]:
        """What the rationales are worth to a model; empty where none was asked."""
        return [line.worth for line in self.lines if line.worth is not None]

    @property
    def lengths(self) -> dict[str, float]:
        """Words per rationale: minimum, median, mean, maximum; empty if there are none."""
        counts = [line.num_words for line in self.lines if line.text]
        if not counts:
            return {}
        return {"min": min(counts), "median": median(counts), "mean": mean(counts), "max": max(counts)}


def audit_rationales(
    rationales: str | Path,
    data: object,
    *,
    config: RunConfig | None = None,
    split: str = "train",
    forbid: Sequence[str] = (),
    allow: Sequence[str] = (),
) -> Audit:
    """Audit a file of rationales against the rows that it belongs to.

    Args:
        rationales: A JSONL file of `id`, `rationale`, or of the rows' own columns for them.
        data: A source as for `data.train`, or rows.
        config: Column names, label names, the SuperGLUE folder.
        split: The split of `superglue:` and `hub:` data.
        forbid: Regular expressions of further words that give a label away.
        allow: Label words that do not give it away.

    Raises:
        DataError: The rows cannot be read, or the file contains no rationale.
        ConfigError: An entry of `forbid` is not a valid regular expression.
    """
    config = config or RunConfig()
    source = open_source(data, config.data, split=split)
    read = InputTemplate(source.template).variables
    fields = ("label", "rationale", "id", "group", "weight")
    own = frozenset(source.columns.get(name, name) for name in fields)
    examples = [_as_read(example, read, own) for example in source.load()]
    labels = label_set(config, source, examples)
    told = source.task.leaks if source.task else ()
    try:
        patterns = leak_patterns(labels, forbid=(*told, *forbid), allow=allow)
    except re.error as error:
        raise ConfigError(f"`forbid`: not a regular expression: {error}") from error
    lines = list(_read(Path(rationales), {example.id: example for example in examples}, config.data))
    written = [(index, line) for index, line in enumerate(lines) if line.text]
    if not written:
        raise DataError(
            f"{rationales}: no line has an id and a rationale; `dhrd rationales convert` reads other formats"
        )
    rows = [line for _, line in written]
    alignment = measure_alignment(rows, examples)
    found: list[list[Flag]] = [[] for _ in rows]
    leaks = {index: flag for index, row in enumerate(rows) if (flag := find_leak(row, patterns))}
    for flagged in (*(check(rows) for check in CHECKS), alignment.flags, leaks):
        for index, flag in flagged.items():
            found[index].append(flag)
    for (index, line), flags, rank in zip(written, found, alignment.ranks, strict=True):
        every = sorted((*line.flags, *flags), key=lambda flag: list(KINDS).index(flag.kind))
        lines[index] = replace(line, num_words=len(words(line.text)), rank=rank, flags=tuple(every))
    have = {line.id for line in lines}
    return Audit(
        rationales=str(rationales),
        data=source.name,
        num_rows=len(examples),
        missing=[example.id for example in examples if example.id not in have],
        lines=lines,
        leak=measure_leak([row for row in rows if row.example is not None], labels),
        alignment=alignment,
        beginnings=beginnings(rows),
        patterns=patterns,
    )


def _read(path: Path, examples: Mapping[str, Example], settings: DataSettings) -> Iterator[Audited]:
    """The lines of the file, flagged if they are not a rationale or belong to no row."""
    seen: set[str] = set()
    for row in read_file(path, delimiter=settings.csv_delimiter):
        found = read_rationale(row, settings.columns)
        columns = {} if isinstance(row, BadRow) else row.columns
        if isinstance(found, str):
            problem = found.removeprefix(f"{row.where}: ")
            yield Audited(where=row.where, columns=columns, flags=(Flag("malformed", problem),))
            continue
        flags, example = [], examples.get(found.id)
        if found.id in seen:
            flags.append(Flag("duplicate_id", f"{found.id} occurs on an earlier line"))
        if example is None:
            flags.append(Flag("unmatched_id", f"no row has the id {found.id}"))
        elif not found.is_about(example):
            flags.append(Flag("other_text", "it was written for a different text of the row"))
        seen.add(found.id)
        yield Audited(
            where=row.where,
            id=found.id,
            text=found.text,
            column=found.column,
            columns=columns,
            example=example,
            flags=tuple(flags),
        )


def _as_read(example: Example, columns: frozenset[str], own: frozenset[str]) -> Example:
    """A row with only what the classifier reads, which by `row` may be all but our own fields' columns: another column
    may contain or reveal the label."""
    text = example.input_text if "input_text" in columns else ""
    read = columns | (example.fields.keys() - own if ROW in columns else set())
    return replace(example, input_text=text, fields={k: v for k, v in example.fields.items() if k in read})
