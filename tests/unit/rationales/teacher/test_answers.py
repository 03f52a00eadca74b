"""From what a teacher wrote to a rationale or a reason against it."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.data.records import LabelSet
from dhrd.rationales.teacher.answers import Answer, Rationale, Rejection, judge, judge_vote
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
        (
            {"text": "Keep:\nIt is new.\n\nReturn:\nIt is broken.\n\nSo the answer is return, as it weighs more."},
            "no_sentinel",
        ),
        ({"text": "keep\n\nreturn"}, "no_sentinel"),
        ({"text": "**keep**\nWould fit if the item", "finish": "length"}, "cut"),
        ({"text": "keep", "finish": "length"}, "cut"),
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


@pytest.mark.parametrize(
    ("text", "explanation", "label"),
    [
        (GOOD, "It still works.", (0,)),
        (GOOD.replace("keep", "**Return**."), "It still works.", (1,)),
        ("return", "", (1,)),  # nothing but the label
        ("Label:\n**return**\n", "", (1,)),
        (f"{SENTINEL}\nkeep", "", (0,)),
    ],
)
def test_a_vote_is_a_label_with_or_without_an_explanation(text: str, explanation: str, label: tuple[int, ...]) -> None:
    found = judge_vote(Answer(text=text), QUESTION, LABELS)
    assert isinstance(found, Rationale)
    assert (found.text, found.label, found.agrees) == (explanation, label, label == QUESTION.label)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"text": ""}, "empty"),
        ({"text": "It works, so keep."}, "no_sentinel"),
        ({"text": GOOD.replace("keep", "who knows")}, "no_label"),
        ({"text": GOOD.replace("keep", "ke"), "finish": "length"}, "cut"),
        ({"refusal": "I will not"}, "refused"),
        ({"failure": "HTTP 400"}, "failed"),
        ({"problem": "a number", "text": "5"}, "unreadable"),
    ],
)
def test_what_is_no_vote_has_a_reason(answer: dict[str, Any], reason: str) -> None:
    found = judge_vote(Answer(**answer), QUESTION, LABELS)
    assert isinstance(found, Rejection)
    assert found.reason == reason
