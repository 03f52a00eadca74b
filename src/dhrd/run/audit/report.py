"""Output of a label audit: a table, JSON lines, and an HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dhrd._files import writing
from dhrd._terminal import say, show_table
from dhrd._text import clipped
from dhrd.rationales.audit.show import render_page
from dhrd.run.audit.labels import AuditedLabel, LabelAudit

_ROWS_SHOWN, _ROWS_ON_PAGE = 20, 200


def print_label_audit(audit: LabelAudit) -> None:
    """Print a summary and the most doubtful rows."""
    doubted = [row for row in audit.rows if row.num_doubts][:_ROWS_SHOWN]
    if doubted:
        show_table(
            ("row", "given", "rather", "doubted by", "text"),
            ([row.example.id, row.label, row.rather, ", ".join(row.doubted_by), clipped(row.text, 60)]
             for row in doubted),
            title=f"{audit.data}: the most doubtful of {len(audit.rows):,} rows",
            left=("row", "given", "rather", "doubted by", "text"),
        )  # fmt: skip
    say(*summary(audit))


def summary(audit: LabelAudit) -> Iterator[str]:
    """The findings of an audit, one sentence each."""
    total = len(audit.rows)
    yield f"{audit.num_doubted():,} of {total:,} labels are doubted, {audit.num_doubted(2):,} by both witnesses"
    if audit.num_rationales:
        yield (
            f"{audit.num_rationales:,} rows have a rationale; note that one written for a given label argues for that "
            "label, right or wrong"
        )
    else:
        yield "no row has a rationale, so the out-of-fold classifier is the only witness"


def label_record(row: AuditedLabel) -> dict[str, object]:
    """A row as a JSON record."""
    return {
        "id": row.example.id,
        "where": row.example.where,
        "label": row.label,
        "rather": row.rather,
        "doubts": row.num_doubts,
        "quality": round(row.quality, 6),
        "witnesses": {
            statement.witness: {
                "label": statement.label,
                "probability": round(statement.probability, 6),
                "doubts": statement.doubts,
            }
            for statement in row.statements
        },
    }


def write_label_audit(audit: LabelAudit, path: Path) -> None:
    """Write all rows as JSON lines, most doubtful first.

    Raises:
        SaveError: They could not be written.
    """
    with writing(path) as file:
        for row in audit.rows:
            file.row(label_record(row))


def write_label_page(audit: LabelAudit, path: Path) -> None:
    """Write a self-contained HTML page of the doubted rows, for review.

    Raises:
        SaveError: It could not be written.
    """
    doubted = [row for row in audit.rows if row.num_doubts]
    page = render_page(
        "dhrd.run.audit",
        "labels.html.jinja",
        audit=audit,
        summary=list(summary(audit)),
        doubted=doubted[:_ROWS_ON_PAGE],
        num_doubted=len(doubted),
    )
    with writing(path) as file:
        file.write(page)
