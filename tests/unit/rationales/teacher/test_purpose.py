"""What the answers to a question come to: enough of what is wanted, a rejection, or a reason to ask again."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.config import TeacherSettings
from dhrd.rationales.generate import Explaining
from dhrd.rationales.label import Labelling
from dhrd.rationales.teacher.answers import Answer, Rationale, Rejection
from dhrd.rationales.teacher.purpose import standing
from helpers.teacher import GOOD, LABELS, QUESTION


def answers(*texts: str | Answer) -> list[Answer]:
    return [text if isinstance(text, Answer) else Answer(text=text, max_tokens=512) for text in texts]


def stand(*texts: str | Answer, **given: Any) -> tuple[Rationale, ...] | Rejection | None:
    settings = TeacherSettings(**given)
    return standing(answers(*texts), QUESTION, Explaining(settings, LABELS), settings)


def votes(*texts: str | Answer, wanted: int = 3) -> list[tuple[int, ...] | None] | str:
    """The labels voted for, or what else the answers come to."""
    purpose = Labelling(labels=LABELS, num_wanted=wanted, columns={})
    found = standing(answers(*texts), QUESTION, purpose, TeacherSettings(attempts=2))
    return [vote.label for vote in found] if isinstance(found, tuple) else reason(found)


WRONG = GOOD.replace("keep", "return")
HIDDEN: dict[str, Any] = {"label_hidden": True, "samples": 2}


def reason(found: tuple[Rationale, ...] | Rejection | None) -> str:
    return "ask" if found is None else "rationale" if isinstance(found, tuple) else found.reason


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


def test_votes_are_collected_until_there_are_enough() -> None:
    assert votes(GOOD, WRONG) == "ask"
    assert votes(GOOD, WRONG, GOOD) == [(0,), (1,), (0,)]
    assert votes(GOOD, WRONG, GOOD, WRONG) == [(0,), (1,), (0,)]  # those that came first
    assert votes(GOOD, WRONG, GOOD, wanted=4) == "ask"


def test_an_unreadable_vote_is_asked_again_and_then_left_out() -> None:
    assert votes(GOOD, "", WRONG, GOOD) == [(0,), (1,), (0,)]  # mended by its second attempt
    assert votes(GOOD, "", "", GOOD) == [(0,), (0,)]
    assert votes("", "", "x", "", "", "") == "empty"
    assert votes("", "", "x", "") == "ask"


def test_a_rejected_row_that_is_asked_again_has_all_its_votes_again() -> None:
    rejected = ["", "", "x", "", "", ""]
    assert votes(*rejected, GOOD) == votes(*rejected, "", GOOD, WRONG) == "ask"
    assert votes(*rejected, GOOD, WRONG, GOOD) == [(0,), (1,), (0,)]
    assert votes(*rejected, "", "x", "", "", GOOD) == [(0,)]  # two that stayed unreadable
    assert votes(*rejected, *rejected) == "empty"
    assert votes(Answer(failure="HTTP 400"), GOOD, WRONG) == "ask"


def test_settings_that_ask_less_ask_nothing_of_a_rejected_row() -> None:
    assert votes("", "", "x", "", "", "", wanted=2) == "empty"
    assert reason(stand("", "", "", attempts=2)) == "empty"
    assert reason(stand(WRONG, WRONG, WRONG, **HIDDEN)) == "wrong_answer"


def test_a_row_that_the_endpoint_refuses_is_not_asked_for_its_other_votes() -> None:
    assert votes(Answer(failure="HTTP 400")) == "failed"
    assert votes(GOOD, Answer(failure="HTTP 400")) == [(0,)]
    assert votes(Answer(failure="HTTP 400"), GOOD) == "ask"  # asked again, and going on
    assert votes(Answer(refusal="no"), Answer(refusal="no"), GOOD) == [(0,)]
