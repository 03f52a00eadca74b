"""A model's thinking is no part of what it says, in the spellings of served models."""

from __future__ import annotations

from typing import Any

import pytest

from dhrd.data.records import LabelSet
from dhrd.rationales.teacher.answers import Answer, Rationale, judge
from dhrd.rationales.teacher.prompt import SENTINEL, Question

LABELS = LabelSet(("refund", "keep"))


QUESTION = Question(id="r0", prompt="why?", key="k0", label=(0,))


PLAIN = f"Because of x.\n{SENTINEL}\nrefund"


def judged(text: str, finish: str = "stop") -> Any:
    return judge(Answer(text=text, finish=finish), QUESTION, LABELS, label_hidden=True)


THOUGHT = {
    "no opening tag": f"Hmm, then a line {SENTINEL}, then it.\n</think>\n\n{PLAIN}",
    "sentinel in the thought": f"Hmm.\n{SENTINEL}\nkeep\n</think>\n{PLAIN}",
    "a capital": f"<Think>Hmm.\n{SENTINEL}\nkeep</Think>\n{PLAIN}",
    "an attribute": f'<think effort="low">Hmm.</think>\n{PLAIN}',
    "two blocks": f"<think>Hmm.</think>\n<think>Or {SENTINEL}</think>\n{PLAIN}",
    "after a word": f"Well. <think>Hmm.\n{SENTINEL}\nkeep</think>\n{PLAIN}",
    "empty": f"<think>\n\n</think>\n\n{PLAIN}",
    "self-closing": f"<think/>\n{PLAIN}",
    "thinking": f"<thinking>Hmm.</thinking>{PLAIN}",
    "thought": f"<thought>Hmm.</thought>{PLAIN}",
    "reasoning": f"<reasoning>Hmm.</reasoning>\n{PLAIN}",
    "a prefix": f"<seed:think>Hmm.</seed:think>{PLAIN}",
    "Magistral": f"[THINK]Hmm.\n{SENTINEL}\nkeep[/THINK]{PLAIN}",
    "Kimi": f"◁think▷Hmm.◁/think▷{PLAIN}",
    "gpt-oss": f"<|channel|>analysis<|message|>Hmm {SENTINEL}.<|end|>"
    f"<|start|>assistant<|channel|>final<|message|>{PLAIN}<|return|>",
    "gpt-oss without its special tokens": f"analysisHmm.\n{SENTINEL}\nassistantfinal{PLAIN}",
    "Command A": f"<|START_THINKING|>Hmm.<|END_THINKING|>{PLAIN}",
    "begin_of_thought": f"<|begin_of_thought|>Hmm.<|end_of_thought|><|begin_of_solution|>{PLAIN}<|end_of_solution|>",
    "MedGemma": f"<unused94>thought\nHmm.<unused95>{PLAIN}",
    "Granite": f"Here is my thought process:\nHmm.\nHere is my response:\n{PLAIN}",
}


@pytest.mark.parametrize("text", THOUGHT.values(), ids=THOUGHT)
def test_t3_thoughts_are_no_rationale(text: str) -> None:
    assert judged(text) == Rationale("Because of x.", agrees=True)


@pytest.mark.parametrize(
    "text", ["<think>Hmm", f"<think>Hmm.\n{SENTINEL}\nrefund", "<|channel|>analysis<|message|>Hmm"]
)
def test_t3_thinking_that_never_ends_says_nothing(text: str) -> None:
    assert judged(text).reason == "empty"
    cut = judged(text, "length")
    assert (cut.reason, cut.again) == ("cut", False)


@pytest.mark.parametrize(
    "text",
    [
        "analysis The customer waited a week before the assistant finally answered.",
        "analysis of the chat: the voice assistant final version works.",
        "The customer wrote <reason>broken</reason> in the form; the form asks for it.",
        "He quotes [analysis]late[/analysis] and <details>blue</details> from his order.",
    ],
)
def test_an_explanation_that_quotes_its_row_is_kept_whole(text: str) -> None:
    assert judged(f"{text}\n{SENTINEL}\nrefund") == Rationale(text, agrees=True)


def test_t3_tags_around_the_explanation_are_no_thinking() -> None:
    text = f"<reasoning>Because of x.</reasoning>\n{SENTINEL}\n<answer>refund</answer>"
    assert judged(text) == Rationale("Because of x.", agrees=True)
