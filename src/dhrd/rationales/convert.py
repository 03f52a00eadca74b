"""Rationales from files of other shapes: nested explanations of people, evidence sentences, columns by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dhrd._files import writing
from dhrd._outputs import RATIONALES, Output, check_outputs
from dhrd._text import shown
from dhrd.config import RunConfig
from dhrd.data.digest import text_digest
from dhrd.data.fields import check_characters, key, optional_text, read_each
from dhrd.data.rationales import DIGEST
from dhrd.data.readers import read_file
from dhrd.data.row import BadRow, Row
from dhrd.data.templates import ROW, InputTemplate
from dhrd.data.values import plain_columns
from dhrd.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a file of another shape holds rationales.

    A record gives a rationale for each of its `rows` (for one, without `rows`). Its parts are columns by name, dotted
    paths, or Jinja2 over the record's columns, `row` (the element of `rows`; without them the record) and `found` (the
    chosen one of `choices`).

    Args:
        id: The row's id.
        rationale: The rationale; if it is empty, the row has none.
        rows: Dotted path to a list in the record with one element per row, if a record is for several rows.
        choices: Dotted path to a list of explanations, of which one is chosen.
        rating: Dotted path, or index, within a choice to the number by which the best is chosen, the first of equals;
            "": the first.
        where: Jinja2 that gives "True" for each (row, choice) that counts; "": all do.
        teacher: The author to name in the output.
    """

    id: str
    rationale: str
    rows: str = ""
    choices: str = ""
    rating: str = ""
    where: str = ""
    teacher: str = ""


SHAPES: dict[str, Shape] = {
    "columns": Shape(id="id", rationale="rationale"),
    "copa-sse": Shape(
        id="copa-{{ superglue_split | replace('val', 'validation') }}-{{ superglue_idx }}",
        rationale="found.text",
        choices="human-explanations",
        rating="filtered-avg-rating",
        where="{{ superglue_idx is defined and superglue_idx is not none }}",
        teacher="people (COPA-SSE)",
    ),
    "winowhy": Shape(
        id="wsc-{{ row.split | replace('val', 'validation') }}-{{ row.idx }}",
        rationale="{{ found[0] }}",
        rows="superglue_rows",
        choices="reasons",
        rating="2",
        where="{{ found[1] == 'human' and found[3] == 'Valid' }}",
        teacher="people (WinoWhy)",
    ),
    "multirc-evidence": Shape(
        id="multirc-{{ superglue_split | replace('val', 'validation') }}-{{ superglue_passage_idx }}"
        "-{{ superglue_question_idx }}-{{ row.superglue_answer_idx }}",
        rationale="{{ evidence | join(' ') }}",
        rows="answers",
        where="{{ row.superglue_answer_idx is defined and row.superglue_answer_idx is not none }}",
        teacher="people (MultiRC evidence)",
    ),
}
"""Shapes by name: `columns` for a file with the two columns, and the human sources of SuperGLUE tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The result of a conversion.

    Args:
        num_records: Records read.
        num_rationales: Rationales written.
        num_without: Rows for which the record had none.
        conflicting: Ids for which two records give different rationales; neither was kept.
    """

    num_records: int
    num_rationales: int
    num_without: int
    conflicting: list[str]


def shape_of(name: str, **changes: str | None) -> Shape:
    """A shape by name, with some of its parts replaced.

    Raises:
        ConfigError: There is no such shape.
    """
    if name not in SHAPES:
        raise ConfigError(f"`shape` {name}: unknown; shapes are {', '.join(SHAPES)}")
    return replace(SHAPES[name], **{part: value for part, value in changes.items() if value is not None})


def convert_rationales(
    source: str | Path, output: str | Path, shape: Shape, *, config: RunConfig | None = None
) -> Converted:
    """Write the rationales of a file of another shape as JSONL of `id`, `rationale`, and `teacher` where it is known.

    Args:
        source: A .json, .jsonl, .csv, .tsv or .parquet file.
        output: A .jsonl file.
        shape: The shape of the source's records.
        config: The delimiter of .csv files.

    Raises:
        DataError: A record does not have the shape; up to ten are named, and nothing is written.
        ConfigError: A template of the shape is not valid, or the output would overwrite the source.
    """
    check_outputs([Output("`output`", Path(output), RATIONALES)], [source])
    reader = _Reader(shape)
    texts: dict[str, str] = {}
    digests: dict[str, str] = {}
    conflicting: set[str] = set()
    num_records = num_without = 0
    records = read_file(Path(source), delimiter=(config or RunConfig()).data.csv_delimiter)
    for record, rationales in read_each(records, lambda record: (record, [*reader.rationales(record)])):
        num_records += 1
        for row_id, text in rationales:
            if not text:
                num_without += 1
            elif texts.setdefault(row_id, text) != text:
                conflicting.add(row_id)
            else:
                digests[row_id] = _digest(record, shape)
    texts = {row_id: text for row_id, text in texts.items() if row_id not in conflicting}
    if not texts:
        raise DataError(f"{source}: none of its {num_records} records has a rationale in this shape")
    with writing(Path(output)) as file:
        for row_id, text in texts.items():
            more = {"teacher": shape.teacher, DIGEST: digests[row_id]}
            file.row({"id": row_id, "rationale": text, **{name: value for name, value in more.items() if value}})
    return Converted(
        num_records=num_records, num_rationales=len(texts), num_without=num_without, conflicting=sorted(conflicting)
    )


def _digest(record: Row | BadRow, shape: Shape) -> str:
    """The digest that a record carries, or that of its `input_text`; "" where it has neither, or several rows."""
    columns = record.columns if isinstance(record, Row) and not shape.rows else {}
    own, text = columns.get(DIGEST), columns.get("input_text")
    if isinstance(own, str):
        return own
    return text_digest(text) if isinstance(text, str) else ""


class _Reader:
    """A shape, compiled."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._id = _part(shape.id, "`id`", key)
        self._rationale = _part(shape.rationale, "`rationale`", _line)
        self._where = _part(shape.where or "{{ true }}", "`where`", lambda _, value: str(value))

    def rationales(self, record: Row | BadRow) -> Iterator[tuple[str, str]]:
        """The id and the rationale, or "", of each row that a record serves."""
        if isinstance(record, BadRow):
            raise DataError(f"{record.where}: {record.problem}")
        try:
            check_characters(record)
        except ValueError as error:
            raise DataError(f"{record.where}: {error}") from None
        rows = _items(record, self._shape.rows, "`rows`") if self._shape.rows else [None]
        choices = _items(record, self._shape.choices, "`choices`") if self._shape.choices else [None]
        if not choices:
            yield from (("", "") for _ in rows)
        for row in rows:
            own = {**record.columns, ROW: row} if self._shape.rows else record.columns  # else it names the record
            views = [(choice, plain_columns({**own, "found": choice})) for choice in choices]
            views = [(choice, view) for choice, view in views if self._where(view, record.where) == "True"]
            if not views:
                continue
            _, best = max(views, key=lambda pair: _number(pair[0], self._shape.rating, record.where))
            row_id = self._id(best, record.where)
            if not row_id:
                raise DataError(f"{record.where}: `id` {self._shape.id}: is empty here; every rationale needs an id")
            yield row_id, self._rationale(best, record.where)


def _part(
    text: str, setting: str, read: Callable[[str, object], str | None]
) -> Callable[[Mapping[str, object], str], str]:
    """A reader for a part of a shape: a template if there are braces, else a column or a dotted path.

    Args:
        text: The part.
        setting: Its name, for messages.
        read: Converts that name and a column's value to text, or None if there is none; raises ValueError.
    """
    if "{" in text:
        template = InputTemplate(text, setting=setting)
        return lambda view, where: " ".join(template.render(view, where=where, may_be_empty=True).split())

    def look_up(view: Mapping[str, object], where: str) -> str:
        value = _at(view, text)
        if isinstance(value, list | dict):
            raise DataError(f"{where}: {setting} {text}: is {shown(value, 60)}, not text; name a part of it")
        if value is None and view.keys().isdisjoint((text, text.partition(".")[0])):
            known = ", ".join(name for name in view if name not in (ROW, "found"))
            raise DataError(f"{where}: {setting} {text}: there is no such column; give one of {known}")
        try:
            return read(f"{setting} {text}", value) or ""
        except ValueError as error:
            raise DataError(f"{where}: {error}") from None

    return look_up


def _line(name: str, value: object) -> str:
    return " ".join((optional_text(name, value) or "").split())


def _items(record: Row, path: str, flag: str) -> Sequence[object]:
    value = _at(record.columns, path)
    if not isinstance(value, list):
        raise DataError(f"{record.where}: {flag} {path}: is not a list here; name a column with lists")
    return value


def _number(choice: object, path: str, where: str) -> float:
    if not path:
        return 0.0  # all equal: the first
    value = _at(choice, path)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return -math.inf if math.isnan(value) else float(value)  # what nobody rated comes last
    raise DataError(f"{where}: `rating` {path}: {shown(value)} is not a number; name a numeric part of each choice")


def _at(value: object, path: str) -> object:
    """The value at a dotted path, trying a name with dots before its parts; None if there is none."""
    part, dot, rest = path.partition(".")
    if isinstance(value, Mapping):
        if not dot or path in value:
            return value.get(path)
        return _at(value.get(part), rest)
    if isinstance(value, list) and part.isdigit() and int(part) < len(value):
        return _at(value[int(part)], rest) if dot else value[int(part)]
    return None
