"""What a reasoning head wrote, taken apart: its rationale and its answer, as its tokenizer gives them back.

A tokenizer may lower case, take accents off or put spaces around signs. Then neither the markers of training nor the
labels' words are ever found as they were written, but what it makes of them is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from dhrd.data.records import LabelSet
from dhrd.data.sequence import SequenceTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class HeadReader:
    """Reads what follows an input.

    Args:
        labels: The label set.
        spelled: The same labels by the words and names to be found.
        answer: What comes before the answer.
    """

    labels: LabelSet
    spelled: LabelSet
    answer: str

    @classmethod
    def of(cls, labels: LabelSet, template: SequenceTemplate, tokenizer: PreTrainedTokenizerBase | None = None) -> Self:
        """A reader of text that was tokens.

        Args:
            labels: The label set.
            template: The markers of training.
            tokenizer: Gave the text back; None: as it was written.
        """
        answer, spelled = template.answer.rstrip(" "), labels
        if tokenizer is not None:
            spell = partial(given_back, tokenizer)
            (answer,), spelled = spell([answer]), labels.respelled(spell)
        return cls(labels, spelled, answer)

    def split(self, written: str) -> tuple[str, str | None]:
        """The rationale and the answer; None: there is no answer."""
        rationale, found, answer = written.partition(self.answer)
        return rationale.strip(), answer if found else None

    def label(self, answer: str) -> tuple[int, ...] | None:
        """The class indices that an answer names; None where it cannot be read."""
        return self.spelled.read(answer)


def given_back(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[str]:
    """What texts are once they were tokens, but for spaces at their ends; where nothing is left, the text itself."""
    ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    backs = [tokenizer.decode(own, skip_special_tokens=True).strip(" ") for own in ids]
    return [back or text for text, back in zip(texts, backs, strict=True)]
