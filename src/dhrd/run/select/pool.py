"""The candidate rows of a pool: each text once, without known rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress, count
from pathlib import Path

from dhrd.config import DataSettings
from dhrd.data.digest import digest_of, input_digest
from dhrd.data.fields import key
from dhrd.data.objects import with_own_names
from dhrd.data.readers import read_file
from dhrd.data.records import Example
from dhrd.data.row import BadRow
from dhrd.data.templates import InputTemplate
from dhrd.data.values import plain_columns
from dhrd.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Rows to choose from.

    Args:
        rows: Indices into the given rows, in order.
        num_excluded: Number of known rows, which were left out.
        num_repeated: Number of rows with the text of an earlier one, which were left out.
    """

    rows: list[int]
    num_excluded: int = 0
    num_repeated: int = 0

    def only(self, wanted: Iterable[bool]) -> Pool:
        """Keep only some rows, by a flag for each given row; the others count as excluded."""
        kept = set(compress(count(), wanted)) & {*self.rows}
        num_excluded = self.num_excluded + len(self.rows) - len(kept)
        return replace(self, rows=sorted(kept), num_excluded=num_excluded)


def open_pool(
    examples: Sequence[Example], exclude: Sequence[Path], template: str, settings: DataSettings | None = None
) -> Pool:
    """Leave out known rows and repeated texts.

    Args:
        examples: All rows.
        exclude: Files of known rows, identified by id or by the columns that the template reads.
        template: The input template.
        settings: How the files are read: the columns of fields, and the delimiter.

    Raises:
        DataError: A file cannot be read, or a row has neither an id nor these columns.
    """
    settings = settings or DataSettings()
    known = {name for path in exclude for name in _names(path, InputTemplate(template), settings)}
    known |= {
        digest_of(example) for example in examples if example.id in known
    }  # also rows whose text equals that of a known id
    seen: set[str] = set()
    rows, num_excluded = [], 0
    for index, example in enumerate(examples):
        digest = digest_of(example)
        if example.id in known or digest in known:
            num_excluded += 1
        elif digest not in seen:
            rows.append(index)
        seen.add(digest)
    return Pool(rows=rows, num_excluded=num_excluded, num_repeated=len(examples) - num_excluded - len(rows))


def _names(path: Path, template: InputTemplate, settings: DataSettings) -> Iterator[str]:
    """Ids and digests of a file's rows."""
    columns = settings.columns
    for row in read_file(path.expanduser(), delimiter=settings.csv_delimiter):
        if isinstance(row, BadRow):
            raise DataError(f"{row.where}: {row.problem}")
        try:
            fields = with_own_names(plain_columns(row.columns), columns)
            row_id = key("id", fields.get(columns.get("id", "id"), fields.get("id")))
        except ValueError as error:
            raise DataError(f"{row.where}: {error}") from error
        if row_id:
            yield row_id
        if all(fields.get(name) is not None for name in template.variables):
            yield input_digest(fields, template)
        elif not row_id:
            raise DataError(
                f"{row.where}: has neither an id nor {', '.join(sorted(template.variables))}, so the row to leave "
                "out cannot be identified; add an id"
            )
