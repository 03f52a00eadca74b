"""MultiRC (Khashabi et al., 2018): is this a right answer to the question about the paragraph?

A question may have several right answers. Official metrics: F1a over all answers, and EM, the share of questions with
every answer judged rightly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from dhrd.data.superglue.score import Answered, Score, f1, share, with_ones
from dhrd.data.superglue.task import Record, Task
from dhrd.errors import DataError

_ID = re.compile(r"(?P<question>(?P<paragraph>.+-\d+)-\d+)-\d+")  # multirc-SPLIT-PARAGRAPH-QUESTION-ANSWER


def _rows(record: Record, split: str) -> Iterator[dict[str, object]]:
    if "passage" not in record:  # the hub has one row an answer
        yield _row(record, split, record["idx"], record["paragraph"], record["question"], record["answer"])
        return
    for question in record["passage"]["questions"]:
        for answer in question["answers"]:
            index = {"paragraph": record["idx"], "question": question["idx"], "answer": answer["idx"]}
            yield _row(answer, split, index, record["passage"]["text"], question["question"], answer["text"])


def _row(source: Record, split: str, index: Record, paragraph: str, question: str, answer: str) -> dict[str, object]:
    group = f"multirc-{split}-{index['paragraph']}"
    return {
        "paragraph": paragraph,
        "question": question,
        "answer": answer,
        **({"label": source["label"]} if "label" in source else {}),
        "id": f"{group}-{index['question']}-{index['answer']}",
        "group": group,
    }


def _parts(row_id: str) -> re.Match[str]:
    """An id's `paragraph` and `question`.

    Raises:
        DataError: It is not one that superglue:multirc gives.
    """
    if (parts := _ID.fullmatch(row_id)) is None:
        raise DataError(
            f"row {row_id!r}: a MultiRC id is multirc-SPLIT-PARAGRAPH-QUESTION-ANSWER, so that answers can be grouped; "
            "keep the ids that superglue:multirc gives"
        )
    return parts


def _right_answers(answered: Answered) -> np.ndarray:
    """Hits, predicted and gold of the second class, the right answers, (B, 3)."""
    gold_B, predicted_B = answered.gold_BC[:, 1], answered.predicted_BC[:, 1]
    return np.stack([gold_B * predicted_B, predicted_B, gold_B], axis=1).astype(np.float64)


def _exact_questions(answered: Answered) -> np.ndarray:
    """On each question's first row whether all its answers are judged rightly, so that a question counts once."""
    questions = [_parts(row_id)["question"] for row_id in answered.ids]
    _, first_of_Q, question_B = np.unique(questions, return_index=True, return_inverse=True)
    wrong_Q = np.bincount(question_B, weights=~answered.hits_B)
    features_B2 = np.zeros((len(question_B), 2))
    features_B2[first_of_Q] = with_ones(wrong_Q == 0)
    return features_B2


TASK = Task(
    name="multirc",
    folder="MultiRC",
    template=("Paragraph: {{ paragraph }}\nQuestion: {{ question }}\nAnswer: {{ answer }}\nIs this answer right?"),
    labels=("false", "true"),
    words=("no", "yes"),
    leaks=(r"(?:is|are|was|were|be) (?:right|wrong)", r"(?:in)?correct(?:ly)?"),
    metrics=("f1a", "em"),
    scores=(
        Score("f1a", _right_answers, lambda sums: f1(sums[..., 0], sums[..., 1], sums[..., 2])),
        Score("em", _exact_questions, share),
    ),
    group_of=lambda row_id: _parts(row_id)["paragraph"],
    num_id_numbers=3,
    rows=_rows,
)
