"""The forms in which teachers write an explanation and an answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dhrd.data.records import LabelSet
from dhrd.rationales.teacher.answers import Answer, Rationale, judge
from dhrd.rationales.teacher.forms import _bare
from dhrd.rationales.teacher.prompt import SENTINEL, Question
from helpers.runs import read_jsonl

LABELS = LabelSet(("refund", "keep"))


QUESTION = Question(id="r0", prompt="why?", key="k0", label=(0,))


PLAIN = f"Because of x.\n{SENTINEL}\nrefund"


def judged(text: str, finish: str = "stop") -> Any:
    return judge(Answer(text=text, finish=finish), QUESTION, LABELS, label_hidden=True)


@pytest.mark.parametrize(
    ("text", "explanation"),
    [
        (f"I write {SENTINEL}, then it.", None),
        (
            f"I write {SENTINEL} and go on.\nBecause of x.\n{SENTINEL}\nrefund",
            f"I write {SENTINEL} and go on.\nBecause of x.",
        ),
        (f"A draft.\n{SENTINEL}\nkeep\n\nBecause of x.\n{SENTINEL}\nrefund", "Because of x."),
        (f"Because of x.\n{SENTINEL}\nrefund\n{SENTINEL}\nrefund", "Because of x."),
        (f"Because of x.\n{SENTINEL}\nrefund\n{SENTINEL}\n", "Because of x."),
    ],
)
def test_t3_the_last_sentinel_alone_on_its_line_counts(text: str, explanation: str | None) -> None:
    found = judged(text)
    assert getattr(found, "text", None) == explanation
    assert explanation is not None or found.reason == "no_sentinel"


FORMS = {
    "fenced": f"```\n{PLAIN}\n```",
    "fenced in two": f"```text\nBecause of x.\n```\n{SENTINEL}\n```\nrefund\n```",
    "heading": f"**Explanation**\n{PLAIN}",
    "heading of Markdown": f"## Step-by-step explanation\n\n{PLAIN}",
    "numbered heading": f"1. **Explanation:**\n{PLAIN}",
    "lead-in": f"Sure! Here is the explanation:\n\n{PLAIN}",
    "lead-in, another": f"Certainly, here's a brief explanation of why this is so:\n{PLAIN}",
    "lead-in and fence": f"Okay. Below is my reasoning:\n```\n{PLAIN}\n```",
    "step by step": f"Let's think step by step.\n{PLAIN}",
    "underscores": "Because of x.\n[END_OF_REASONING]\nrefund",
    "escaped": "Because of x.\n\\[END OF REASONING\\]\nrefund",
    "no brackets": "Because of x.\nEND OF REASONING\nrefund",
    "a rule": "Because of x.\n--- End of Reasoning ---\nrefund",
    "other brackets": "Because of x.\n<END OF REASONING>\nrefund",
    "heading as sentinel": "Because of x.\n### **[END OF REASONING]**\n\n**refund**",
    "after the sentence": "Because of x. [END OF REASONING]\nrefund",
    "before the answer": "Because of x.\n[END OF REASONING] refund",
    "Windows lines": PLAIN.replace("\n", "\r\n"),
    "rules around": f"Because of x.\n\n---\n{SENTINEL}\n---\nrefund",
    "special token": f"{PLAIN}<|im_end|>",
    "JSON": '{"explanation": "Because of x.", "answer": "refund"}',
    "JSON in a fence": '```json\n{"Reasoning": "Because of x.", "Final Answer": "refund"}\n```',
    "JSON after a lead-in": 'Here is the JSON you requested:\n{"rationale": "Because of x.", "label": "refund"}',
    "JSON with the sentinel": '{"explanation": "Because of x.\\n[END OF REASONING]", "answer": "refund"}',
    "JSON, then the sentinel": f'{{"explanation": "Because of x."}}\n{SENTINEL}\nrefund',
    "an element around half": f"<explanation>Because of x.</explanation> {SENTINEL} <answer>refund</answer>",
    "an element around both": f"<response>\n<reasoning>Because of x.\n{SENTINEL}</reasoning>\nrefund</response>",
    "an element in a fence": f"```xml\n<explanation>\nBecause of x.\n{SENTINEL}\nrefund\n</explanation>\n```",
    "an element after a lead-in": f"Here is my reasoning: <reasoning>Because of x.\n{SENTINEL}\nrefund</reasoning>",
    "an element, a heading": f"<output>**Explanation:** Because of x.</output>\n{SENTINEL}\n<answer>refund</answer>",
    "a draft in elements": f"A draft.\n{SENTINEL}\n<answer>keep</answer>\n<reasoning>Because of x.\n{SENTINEL}\nrefund",
    "an element around the sentinel": "Because of x.\n<answer>END_OF_REASONING</answer>\nrefund",
    "a tag after the sentinel": "Because of x.\n**END_OF_REASONING**</explanation>\nrefund",
    "bold tags": f"**<explanation>**\nBecause of x.\n**</explanation>**\n{SENTINEL}\nrefund",
    "elements": "<explanation>Because of x.</explanation>\n<answer>refund</answer>",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_t12_forms_of_an_answer(text: str) -> None:
    assert judged(text) == Rationale("Because of x.", agrees=True)


@pytest.mark.parametrize(
    "explanation",
    [
        "Reasons for hunting are compared: fur and food.",
        "This is why the customer is owed it: it broke.",
        "Sure signs of wear are named.",
        "It runs\n```\nls\n```\nand then stops.",
        "```\nerror 5\n```\nThe log shows it.\n```\nfix\n```",
        "The <response> element is missing, so <output> stays empty.",
        "It lacks two:\n<response> for the status, and\nthe end, </output>, for the rest.",
        "The words END OF REASONING stand in the mail.",
        "Here the customer writes twice.",
        '{"order": 5} is what the mail holds.',
    ],
)
def test_t12_an_explanation_keeps_its_own_words(explanation: str) -> None:
    assert judged(f"{explanation}\n{SENTINEL}\nrefund") == Rationale(explanation, agrees=True)


def test_t12_real_rationales_are_left_as_they_are(shared_data: Path) -> None:
    texts = [
        row["rationale"]
        for path in (shared_data / "rationales" / "teacher").glob("*.jsonl")
        for row in read_jsonl(path)
    ]
    assert len(texts) > 1000
    assert [text for text in texts if _bare(text) != text.strip()] == []


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_t12_more_forms_of_an_answer(text: str) -> None:
    question = Question(id="r0", prompt="why?", key="k0", label=(0,))
    found = judge(Answer(text=text), question, LABELS, label_hidden=True)
    assert found == Rationale("Because of x.", agrees=True)
