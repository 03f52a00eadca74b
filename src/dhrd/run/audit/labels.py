"""Label audit: find labels that are probably wrong, by one or two witnesses that did not see them.

    the classifier    out of fold: trained on the other rows, with the run's own settings (`evaluation/folds.py`)
    the rationale     the label told from the rationale alone, by a bag of words, out of fold too

A witness doubts a label by confident learning (Northcutt et al. 2021, arXiv 1911.00068, section 3, in cleanlab), which
compares its probabilities with its typical confidence in each label. Rows that both doubt come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dhrd._extras import require
from dhrd.config import RunConfig
from dhrd.data.label_space import check_one_task
from dhrd.data.records import Example, LabelSet
from dhrd.data.rows import Rows, encode_labels, load_rows
from dhrd.data.split import fold_rows
from dhrd.errors import DataError
from dhrd.evaluation.folds import fold_directory, for_folds, out_of_fold
from dhrd.rationales.audit.leak import told_from
from dhrd.run.trained import refuse_rows_of_backbone

CLASSIFIER, RATIONALE = "classifier", "rationale"
_EPSILON = 1e-9  # stands for the missing probability of a label absent from the fitted rows


@dataclass(frozen=True, slots=True)
class Statement:
    """What a witness says about one row.

    Args:
        witness: `CLASSIFIER` or `RATIONALE`.
        label: The label it finds most probable.
        probability: The probability it gives to the row's label.
        doubts: Whether confident learning flags the row's label as wrong.
    """

    witness: str
    label: str
    probability: float
    doubts: bool


@dataclass(frozen=True, slots=True)
class AuditedLabel:
    """A row with its label and the witnesses' statements."""

    example: Example
    label: str
    statements: tuple[Statement, ...]

    @property
    def text(self) -> str:
        """The input as the classifier read it, without columns that may hold the label."""
        return self.example.rendered[1] if self.example.rendered else self.example.input_text

    @property
    def num_doubts(self) -> int:
        """Number of witnesses that doubt the label."""
        return len(self.doubted_by)

    @property
    def doubted_by(self) -> list[str]:
        """The witnesses that doubt the label."""
        return [statement.witness for statement in self.statements if statement.doubts]

    @property
    def rather(self) -> str:
        """The label suggested by the witness that finds the given one least probable."""
        return min(self.statements, key=lambda statement: statement.probability).label

    @property
    def quality(self) -> float:
        """The mean probability of the given label over the witnesses."""
        return sum(statement.probability for statement in self.statements) / len(self.statements)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAudit:
    """The result of a label audit, most doubtful rows first.

    Args:
        data: Where the rows come from.
        labels: Their labels.
        rows: All rows.
        num_rationales: Number of rows that the second witness could judge.
    """

    data: str
    labels: LabelSet
    rows: list[AuditedLabel]
    num_rationales: int

    def num_doubted(self, by: int = 1) -> int:
        """Number of rows doubted by at least `by` witnesses."""
        return sum(row.num_doubts >= by for row in self.rows)


def audit_labels(
    config: RunConfig, *, num_folds: int = 5, kept: Path | None = None, device: str | None = None
) -> LabelAudit:
    """Audit the labels of the training rows.

    Args:
        config: Settings as for training; validation, `data.dev_share` and the selection of weights are ignored.
        num_folds: Number of cross-validation folds; the classifier is trained once per fold.
        kept: Directory for finished folds, so that the same call can resume after a kill; None: keep nothing.
        device: "cpu", "cuda" or "mps"; None: the best available.

    Raises:
        MissingExtra: cleanlab is not installed.
        DataError: Rows may have several labels, or all have the same; a row cannot be used; a fold would be empty.
        UserError: A setting or the backbone cannot be used.
    """
    require("cleanlab", extra="audit")
    config = for_folds(config)
    rows = load_rows(config)
    refuse_rows_of_backbone(config, rows.train)
    check_one_task(rows.labels, "a label audit")
    if rows.labels.multi_label:
        raise DataError(f"{config.data.train}: rows with several labels cannot be audited; audit one label at a time")
    gold_B = encode_labels(rows.train, rows.labels).argmax(axis=1)
    if len(set(gold_B.tolist())) < 2:
        raise DataError(f"{config.data.train}: all rows have the same label; an audit needs at least two labels")
    with fold_directory(kept) as folds:
        by_classifier = out_of_fold(config, rows, num_folds=num_folds, kept=folds, device=device)
    statements = [_statements(CLASSIFIER, range(len(gold_B)), gold_B, by_classifier, rows.labels)]
    by_rationale, reading = _by_rationale(rows, gold_B, num_folds, config.seed)
    if len(set(gold_B[reading].tolist())) > 1:
        statements.append(_statements(RATIONALE, reading, gold_B, by_rationale, rows.labels))
    audited = [
        AuditedLabel(example, rows.labels.names[gold_B[i]], tuple(of[i] for of in statements if i in of))
        for i, example in enumerate(rows.train)
    ]
    audited.sort(key=lambda row: (-row.num_doubts, row.quality))
    return LabelAudit(data=str(config.data.train), labels=rows.labels, rows=audited, num_rationales=len(reading))


def _by_rationale(rows: Rows, gold_B: np.ndarray, num_folds: int, seed: int) -> tuple[np.ndarray, list[int]]:
    """Out-of-fold probabilities (B, C) by a bag of words over the rationales, with the classifier's folds, and the rows
    they cover: those that have a rationale, where the other folds have at least two labels."""
    reasoned = [index for index, example in enumerate(rows.train) if example.rationale]
    folds = []
    for held_out in map(set, fold_rows(rows.train, num_folds, seed)):
        fitted, read = ([i for i in reasoned if (i in held_out) == is_read] for is_read in (False, True))
        if read and len(set(gold_B[fitted].tolist())) > 1:
            folds.append((np.array(fitted), np.array(read)))
    texts = [example.rationale or "" for example in rows.train]
    reading = sorted(int(index) for _, read in folds for index in read)
    return told_from(texts, gold_B, folds, num_labels=len(rows.labels)), reading


def _statements(
    witness: str, reading: Sequence[int], gold_B: np.ndarray, probabilities_BC: np.ndarray, labels: LabelSet
) -> dict[int, Statement]:
    """A witness's statements about the rows it can judge, by row index.

    Confident learning covers only the labels that occur among these rows.
    """
    from cleanlab.filter import find_label_issues

    rows = np.asarray(reading)
    present = np.unique(gold_B[rows])
    given_B = np.searchsorted(present, gold_B[rows])
    share_BC = probabilities_BC[np.ix_(rows, present)] + _EPSILON
    share_BC /= share_BC.sum(axis=1, keepdims=True)
    doubted_B = find_label_issues(given_B, share_BC, n_jobs=1)
    return {
        int(row): Statement(witness, labels.names[present[share_C.argmax()]], float(share_C[given]), bool(doubts))
        for row, share_C, given, doubts in zip(rows, share_BC, given_B, doubted_B, strict=True)
    }
