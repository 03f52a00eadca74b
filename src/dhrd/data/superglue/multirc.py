"""MultiRC (Khashabi et al., 2018): is this a right answer to the question about the paragraph?

A question may have several right answers. Official metrics: F1a over all answers, and EM, the share of questions with
every answer judged rightly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dhrd.data.superglue.task import Record, Task


def _rows(record: Record, split: str) -> Iterator[dict[str, Any]]:
    if "passage" not in record:  # the hub has one row an answer
        yield _row(record, split, record["idx"], record["paragraph"], record["question"], record["answer"])
        return
    for question in record["passage"]["questions"]:
        for answer in question["answers"]:
            index = {"paragraph": record["idx"], "question": question["idx"], "answer": answer["idx"]}
            yield _row(answer, split, index, record["passage"]["text"], question["question"], answer["text"])


def _row(source: Record, split: str, index: Record, paragraph: str, question: str, answer: str) -> dict[str, Any]:
    group = f"multirc-{split}-{index['paragraph']}"
    return {
        "paragraph": paragraph,
        "question": question,
        "answer": answer,
        **({"label": source["label"]} if "label" in source else {}),
        "id": f"{group}-{index['question']}-{index['answer']}",
        "group": group,
    }


TASK = Task(
    name="multirc",
    folder="MultiRC",
    template=("Paragraph: {{ paragraph }}\nQuestion: {{ question }}\nAnswer: {{ answer }}\nIs this answer right?"),
    labels=("false", "true"),
    words=("no", "yes"),
    leaks=(r"(?:is|are|was|were|be) (?:right|wrong)", r"(?:in)?correct(?:ly)?"),
    metrics=("f1a", "em"),
    rows=_rows,
)
