"""The model as its own teacher: an artifact's reasoning head writes rationales, in the form that it was trained in.

A row is asked without its label, `teacher.samples` times; a rationale is kept where the answer behind it is the label
(STaR: Zelikman et al. 2022, arXiv 2203.14465, section 3.1). A row without one is asked once more with its label given
before the rationale ("rationalization", section 3.2), and such a rationale is marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dhrd._device import find_device
from dhrd._loading import no_foreign_bars
from dhrd.artifact.info import ArtifactInfo, read_info
from dhrd.artifact.read import load_input_encoder, load_reasoning_model
from dhrd.config import TeacherSettings
from dhrd.data.inputs import InputEncoder
from dhrd.data.objects import columns_of
from dhrd.data.reading import HeadReader
from dhrd.errors import ArtifactError
from dhrd.model.generation import generate
from dhrd.rationales.teacher.answers import Answer
from dhrd.rationales.teacher.local import keep_answers
from dhrd.rationales.teacher.prompt import SENTINEL
from dhrd.rationales.teacher.session import Asked, Session, Teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TEMPERATURE = 0.7
"""Sampling temperature if the settings have none."""

_BATCHES_AT_ONCE = 16  # as many questions are taken at once


@dataclass(frozen=True, slots=True)
class OwnTeacher:
    """An artifact's reasoning head.

    Args:
        model: Backbone and reasoning head.
        encoder: Rows as the classifier reads them.
        info: The labels and the markers of training.
    """

    model: PreTrainedModel
    encoder: InputEncoder
    info: ArtifactInfo

    @classmethod
    def from_settings(cls, settings: TeacherSettings, device: str | None) -> Self:
        """Load the artifact.

        Raises:
            ArtifactError: It is not an artifact, is damaged, or its reasoning head was not trained.
            ConfigError: There is no such device.
        """
        directory = Path(settings.model).expanduser()
        info = read_info(directory)
        if not info.reasons:
            raise ArtifactError(
                f"{directory}: trained with loss.reasoning_weight: 0, so its reasoning head is untrained; give "
                "an artifact trained with rationales"
            )
        with no_foreign_bars():
            model = load_reasoning_model(directory).to(find_device(device))
            return cls(model, load_input_encoder(directory, info), info)

    def ask(self, questions: Iterator[Asked], session: Session) -> bool:
        """Answer all questions, and store the answers batch by batch.

        Raises:
            TeacherError: Every one of the first answers was cut.
        """
        size, most = session.settings.batch_size, session.settings.samples
        while window := list(islice(questions, size * _BATCHES_AT_ONCE)):
            waiting = list({asked.question.key: asked for asked in window}.values())
            while waiting:
                hidden = [asked for asked in waiting if len(asked.answers) < most]
                prompts = self._prompts(hidden or waiting, session.settings, told=not hidden)
                for batch in _batches(prompts, size):
                    keep_answers([prompt.asked for prompt in batch], self._answers(batch, session.settings), session)
                waiting = [asked for asked in waiting if not session.is_settled(asked)]
        return True

    def _prompts(self, questions: Sequence[Asked], settings: TeacherSettings, *, told: bool) -> list[_Prompt]:
        read = self.encoder.template, self.info.columns
        rows = [columns_of(asked.question.columns, f"row {asked.question.id}", *read) for asked in questions]
        prompts = []
        for asked, item in zip(questions, self.encoder.encode(rows), strict=True):
            label = self.info.labels.write(asked.question.label) if told else ""
            tokens = item.input_ids + self._marker(label)
            room = max(0, self.info.max_sequence_tokens - len(tokens))
            prompts.append(_Prompt(asked, label, tokens, min(settings.max_tokens, room)))
        return prompts

    def _marker(self, label: str) -> list[int]:
        """What follows an input: the rationale's marker, preceded by the answer if it is given."""
        template = self.info.sequence
        text = f"{template.answer}{label}{template.reason}" if label else template.reason
        return list(self.encoder.tokenizer(text.rstrip(" "), add_special_tokens=False)["input_ids"])

    def _answers(self, batch: Sequence[_Prompt], settings: TeacherSettings) -> list[Answer]:
        """Answers to prompts of the same limit; none if the artifact's sequences have no room left."""
        limit = batch[0].limit
        now = datetime.now(UTC).isoformat(timespec="seconds")
        blank = [
            Answer(max_tokens=settings.max_tokens, prompt_bytes=len(prompt.asked.question.prompt.encode()), time=now)
            for prompt in batch
        ]
        if not limit:
            over = f"tokens leave no room within the artifact's {self.info.max_sequence_tokens}"
            return [
                replace(answer, failure=f"{len(prompt.tokens)} {over}")
                for answer, prompt in zip(blank, batch, strict=True)
            ]
        written = generate(
            self.model,
            self.encoder.tokenizer,
            [prompt.tokens for prompt in batch],
            max_new_tokens=limit,
            temperature=TEMPERATURE if settings.temperature is None else settings.temperature,
            top_p=settings.top_p or 1.0,
            batch_size=len(batch),
            seed=[(settings.seed or 0) + prompt.asked.attempt for prompt in batch],
        )
        reader = HeadReader.of(self.info.labels, self.info.sequence, self.encoder.tokenizer)
        return [
            replace(
                answer,
                text=self._as_answer(new, reader, prompt.label, whole=len(new) < limit),
                finish="stop" if len(new) < limit else "length",  # eos is not among the new tokens
                label_given=bool(prompt.label),
                prompt_tokens=len(prompt.tokens),
                completion_tokens=len(new),
            )
            for answer, prompt, new in zip(blank, batch, written, strict=True)
        ]

    def _as_answer(self, new: list[int], reader: HeadReader, label: str, *, whole: bool) -> str:
        """The decoded text in the form of a teacher's answer: rationale, sentinel and, if there is one, the answer."""
        text = self.encoder.tokenizer.decode(new, skip_special_tokens=True)
        if label:  # the label was given, so only a complete rationale is wanted
            rationale, answer = text.partition(reader.answer)[0].strip(), label if whole else None
        else:
            rationale, answer = reader.split(text)
            found = None if answer is None else reader.label(answer)
            answer = answer if found is None else self.info.labels.write(found)
        return rationale if answer is None else f"{rationale}\n{SENTINEL}\n{answer.strip()}"


TEACHER: type[Teacher] = OwnTeacher


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A row as the reasoning head reads it.

    Args:
        asked: The question.
        label: The label that is given; "" where the row is asked without it.
        tokens: Token ids.
        limit: Most new tokens: `max_tokens`, or what the artifact's sequences leave.
    """

    asked: Asked
    label: str
    tokens: list[int]
    limit: int


def _batches(prompts: Iterable[_Prompt], size: int) -> Iterator[list[_Prompt]]:
    """`size` of the same limit at a time, so that no row is refused or cut for the sake of a longer one beside it."""
    by_limit = sorted(prompts, key=attrgetter("limit"), reverse=True)
    for _, group in groupby(by_limit, key=attrgetter("limit")):
        while batch := list(islice(group, size)):
            yield batch
