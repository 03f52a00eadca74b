"""An audit as JSON, as a table, and as a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from heapq import nsmallest
from importlib import resources
from itertools import islice
from pathlib import Path
from statistics import median

import jinja2

from dhrd._files import writing
from dhrd._terminal import say, show_table
from dhrd._text import escaped
from dhrd.rationales.audit.audit import Audit
from dhrd.rationales.audit.flags import KINDS, Audited, Flag
from dhrd.rationales.audit.text import input_of

FORMAT = 1
_ROWS_A_KIND = 20
_RANK_BINS = 20
_MOST_MISSING = 20


def to_json(audit: Audit) -> dict[str, object]:
    """Everything, for a script: totals, then each line of the file."""
    return {
        "format": FORMAT,
        "rationales": audit.rationales,
        "data": audit.data,
        "num_rows": audit.num_rows,
        "num_lines": len(audit.lines),
        "num_missing": len(audit.missing),
        "flags": audit.counts,
        "num_flagged": sum(bool(line.flags) for line in audit.lines),
        "words": audit.lengths,
        "leak": asdict(audit.leak),
        "alignment": audit.alignment.summary(),
        "beginnings": [{"words": start, "share": share} for start, share in audit.beginnings],
        "missing": audit.missing,
        "rows": [
            {
                "id": line.id,
                "where": line.where,
                "num_words": line.num_words,
                "rank": line.rank,
                **({"worth": line.worth} if line.worth is not None else {}),
                "flags": [{"kind": flag.kind, "detail": flag.detail} for flag in line.flags],
            }
            for line in audit.lines
        ],
    }


def print_table(audit: Audit) -> None:
    """The totals, for a terminal."""
    show_table(
        ("flag", "lines", "share", "for example"),
        ([kind, f"{count:,}", f"{count / len(audit.lines):.1%}", _example(audit, kind)]
         for kind, count in audit.counts.items()),
        title=f"{audit.rationales}: {len(audit.lines):,} lines",
        left=("flag", "for example"),
    )  # fmt: skip
    say(*facts(audit))


def _example(audit: Audit, kind: str) -> str:
    return next((f"{line.id or line.where}: {flag.detail}" for line, flag in _flagged(audit, kind)), "")


def facts(audit: Audit) -> Iterator[str]:
    """The measurements of an audit, one sentence each."""
    missing = len(audit.missing)
    yield f"rows: {audit.num_rows - missing:,} of {audit.num_rows:,} have a rationale, {missing:,} have none"
    if audit.lengths:
        yield "words: {median:.0f} in the median, {min} to {max}".format(**audit.lengths)
    yield f"alignment: {audit.alignment.sentence()}"
    leak = audit.leak
    if leak.rationale_accuracy is None or leak.input_accuracy is None or leak.chance is None:
        yield f"label told from the rationale alone: not measured, as {leak.why}"
    else:
        yield (
            f"label told from the rationale alone: {leak.rationale_accuracy:.2f} of rows; from the input alone "
            f"{leak.input_accuracy:.2f}; commonest label {leak.chance:.2f} (bag of words, cross-validated). Good "
            "rationales argue toward the label, so this is information, not a fault"
        )
        for label, ngrams in leak.ngrams.items():
            yield f"  toward {label}: {', '.join(ngrams)}"
    if audit.worths:
        yield worth_sentence(audit)
    if audit.beginnings:
        yield "beginnings: " + ", ".join(f"“{start} …” {share:.1%}" for start, share in audit.beginnings)


def worth_sentence(audit: Audit) -> str:
    """A sentence on what the rationales are worth to the model that was asked."""
    worths = audit.worths
    num_none = sum(worth <= 0 for worth in worths)
    return (
        f"worth: {median(worths):+.2f} nats in the median, {min(worths):+.2f} to {max(worths):+.2f}; {num_none:,} of "
        f"{len(worths):,} rationales make their row's label no likelier to the model"
    )


def _least_worth(audit: Audit) -> list[Audited]:
    measured = (line for line in audit.lines if line.worth is not None)
    return nsmallest(_ROWS_A_KIND, measured, key=lambda line: line.worth or 0.0)


def write_page(audit: Audit, path: Path) -> None:
    """One self-contained HTML page, to skim.

    Raises:
        SaveError: It could not be written.
    """
    page = render_page(
        "dhrd.rationales.audit",
        "page.html.jinja",
        audit=audit,
        name=Path(audit.rationales).name,
        num_flagged=sum(bool(line.flags) for line in audit.lines),
        about=KINDS,
        sections={kind: list(islice(_flagged(audit, kind), _ROWS_A_KIND)) for kind, n in audit.counts.items() if n},
        pieces=_pieces,
        input_of=input_of,
        most=_ROWS_A_KIND,
        bins=_rank_bins(audit),
        missing=audit.missing[:_MOST_MISSING],
        worth=worth_sentence(audit) if audit.worths else None,
        least_worth=_least_worth(audit),
    )
    with writing(path) as file:
        file.write(page)


def render_page(package: str, template: str, **values: object) -> str:
    """A page from a template, with what comes from data as text: escaped, and without control characters.

    Args:
        package: The package that contains the template.
        template: The name of its file.
        **values: The template's variables.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, finalize=_without_control_characters
    )
    source = resources.files(package).joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(source).render(**values)


def _without_control_characters(value: object) -> object:
    return escaped(value) if type(value) is str else value  # not Markup: that is ours


def _flagged(audit: Audit, kind: str) -> Iterator[tuple[Audited, Flag]]:
    return ((line, flag) for line in audit.lines for flag in line.flags if flag.kind == kind)


def _pieces(text: str, spans: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, bool]]:
    """A text cut into pieces, each with whether it is within one of the spans."""
    at = 0
    for start, end in spans:
        start = max(at, start)
        if end > start:
            yield text[at:start], False
            yield text[start:end], True
            at = end
    yield text[at:], False


def _rank_bins(audit: Audit) -> list[float]:
    """The share of rows in each twentieth of the ranks, the highest first to 1."""
    ranks = [line.rank for line in audit.lines if line.rank is not None]
    counts = [0] * _RANK_BINS
    for rank in ranks:
        counts[min(_RANK_BINS - 1, int(rank * _RANK_BINS))] += 1
    return [count / len(ranks) for count in counts] if ranks else []
