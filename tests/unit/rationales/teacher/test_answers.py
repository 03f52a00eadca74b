"""From what a teacher wrote to a rationale or a reason against it."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.config import TeacherSettings
from dhrd.data.records import LabelSet
from dhrd.rationales.teacher.answers import Answer, Rationale, Rejection, judge, standing
from dhrd.rationales.teacher.prompt import SENTINEL
from helpers.teacher import GOOD, LABELS, QUESTION


@pytest.mark.parametrize(
    ("text", "rationale"),
    [
        (GOOD, "It still works."),
        (f"Two lines\nof it.\n\n{SENTINEL}\n\nkeep\n", "Two lines\nof it."),
        (f"It works. {SENTINEL} keep", "It works."),
        (f"It works.\n**{SENTINEL}**\nkeep", "It works."),
        ("It works.\n[end of  reasoning]\nkeep", "It works."),
        (f"**Explanation:** It works.\n{SENTINEL}\nkeep", "It works."),
        (f"<explanation>It works.</explanation>\n{SENTINEL}\n<answer>keep</answer>", "It works."),
        (f"It works.\n**Answer:** keep\n{SENTINEL}\nkeep", "It works."),
        (f"It works.\nThe final answer is: keep\n{SENTINEL}\nkeep", "It works."),
        (f"<think>Hmm. {SENTINEL}</think>\nIt works.\n{SENTINEL}\nkeep", "It works."),
        (f"It works.\n{SENTINEL}\nkeep\n{SENTINEL}", "It works."),
    ],
)
@pytest.mark.parametrize("label_hidden", [True, False])
def test_the_explanation_alone_is_the_rationale(text: str, rationale: str, label_hidden: bool) -> None:
    found = judge(Answer(text=text), QUESTION, LABELS, label_hidden=label_hidden)
    assert found == Rationale(rationale, agrees=True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"text": ""}, "empty"),
        ({"text": " \n "}, "empty"),
        ({"text": f"{SENTINEL}\nkeep"}, "empty"),
        ({"text": f"<explanation></explanation>\n{SENTINEL}\nkeep"}, "empty"),
        ({"text": f"Answer: keep\n{SENTINEL}\nkeep"}, "empty"),
        ({"text": "It works, so keep."}, "no_sentinel"),
        ({"text": "It wor", "finish": "length"}, "cut"),
        ({"text": "", "finish": "length"}, "cut"),
        ({"text": f"<think>It works. {SENTINEL} keep", "finish": "length"}, "cut"),
        ({"text": GOOD, "refusal": "I will not"}, "refused"),
        ({"text": "It", "finish": "content_filter"}, "refused"),
        ({"failure": "HTTP 500"}, "failed"),
    ],
)
@pytest.mark.parametrize("label_hidden", [True, False])
def test_what_is_no_rationale_has_a_reason(answer: dict[str, Any], reason: str, label_hidden: bool) -> None:
    found = judge(Answer(**answer), QUESTION, LABELS, label_hidden=label_hidden)
    assert isinstance(found, Rejection)
    assert found.reason == reason


def test_a_wrong_answer_counts_where_the_label_is_hidden() -> None:
    wrong = Answer(text=GOOD.replace("keep", "return"))
    assert judge(wrong, QUESTION, LABELS, label_hidden=True) == Rejection("wrong_answer", "return")
    assert judge(wrong, QUESTION, LABELS, label_hidden=False) == Rationale("It still works.", agrees=False)
    unreadable = Answer(text=GOOD.replace("keep", "who knows"))
    assert judge(unreadable, QUESTION, LABELS, label_hidden=True) == Rejection("wrong_answer", "who knows")


def test_an_answer_cut_after_the_sentinel_lost_nothing() -> None:
    """The explanation is whole; only where the label is hidden must the rest be readable too."""
    cut = Answer(text=f"It works.\n{SENTINEL}\nke", finish="length")
    assert judge(cut, QUESTION, LABELS, label_hidden=False) == Rationale("It works.", agrees=False)
    assert judge(cut, QUESTION, LABELS, label_hidden=True) == Rejection("cut")
    rambling = Answer(text=f"It works.\n{SENTINEL}\nkeep\nNow another one", finish="length")
    assert judge(rambling, QUESTION, LABELS, label_hidden=True) == Rationale("It works.", agrees=True)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("no", (1,)),
        ("\n\n  **No.**\n", (1,)),
        ("Answer: no", (1,)),
        ("The answer is: “no”", (1,)),
        ("Final answer:\nno", (1,)),
        ("So the correct answer is no.", (1,)),
        ("true", (0,)),  # the label's name is as good as its word
        ("no way", None),
        ("", None),
        ("Answer:", None),
    ],
)
def test_labels_are_read_by_word_or_name(text: str, label: tuple[int, ...] | None) -> None:
    assert LabelSet(("true", "false"), ("yes", "no")).read(text) == label


@pytest.mark.parametrize(("text", "label"), [("b, a", (0, 1)), ("none", ()), ("a, x", None), ("a", (0,))])
def test_several_labels_are_read_too(text: str, label: tuple[int, ...] | None) -> None:
    labels = LabelSet(("a", "b"), multi_label=True)
    assert labels.read(text) == label
    if label is not None:
        assert labels.read(labels.write(label)) == label


def stand(*texts: str | Answer, **settings: Any) -> Rationale | Rejection | None:
    answers = [text if isinstance(text, Answer) else Answer(text=text, max_tokens=512) for text in texts]
    return standing(answers, QUESTION, LABELS, TeacherSettings(**settings))


WRONG = GOOD.replace("keep", "return")
HIDDEN: dict[str, Any] = {"label_hidden": True, "samples": 2}


def reason(found: Rationale | Rejection | None) -> str:
    return "ask" if found is None else "rationale" if isinstance(found, Rationale) else found.reason


@pytest.mark.parametrize(
    ("texts", "settings", "expected"),
    [
        ([], {}, "ask"),
        ([""], {}, "ask"),
        (["", "x"], {}, "ask"),
        (["", "x", ""], {}, "empty"),
        (["", GOOD], {}, "rationale"),
        ([""], {"attempts": 1}, "empty"),
        (["", ""], {"attempts": 2}, "empty"),
        (["", "", ""], {"attempts": 4}, "ask"),  # a higher limit asks again
        ([WRONG], {"label_hidden": True}, "wrong_answer"),
        ([WRONG], HIDDEN, "ask"),
        ([WRONG, WRONG], HIDDEN, "wrong_answer"),
        ([WRONG, GOOD], HIDDEN, "rationale"),
        ([WRONG, "", "", WRONG], HIDDEN, "wrong_answer"),  # each sample has its own attempts
        ([WRONG, "", ""], HIDDEN, "ask"),
        (["", "", "", WRONG], HIDDEN, "wrong_answer"),
        ([Answer(failure="HTTP 500")], {}, "failed"),
        ([Answer(refusal="no")], {}, "refused"),
    ],
)
def test_what_answers_come_to(texts: list[Any], settings: dict[str, Any], expected: str) -> None:
    assert reason(stand(*texts, **settings)) == expected


def test_raising_max_tokens_asks_cut_answers_again_and_no_others() -> None:
    cut = Answer(text="It wor", finish="length", max_tokens=512)
    assert reason(stand(cut, attempts=1)) == "cut"
    assert reason(stand(cut, attempts=1, max_tokens=1024)) == "ask"
    assert reason(stand(cut, attempts=1, max_tokens=256)) == "cut"
    assert reason(stand("x", attempts=1, max_tokens=1024)) == "no_sentinel"
    assert reason(stand(Answer(refusal="no"), max_tokens=1024)) == "refused"
