"""The model as its own teacher: an artifact's reasoning head writes rationales, in the form that it was trained in.

A row is asked without its label, `teacher.samples` times; a rationale is kept where the answer behind it is the label
(STaR: Zelikman et al. 2022, arXiv 2203.14465, section 3.1). A row without one is asked once more with its label given
before the rationale ("rationalization", section 3.2), and such a rationale is marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
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
                batch, told = (hidden or waiting)[:size], not hidden
                left = keep_answers(batch, self._answers(batch, session.settings, told=told), session)
                done = {id(asked) for asked in batch} - {id(asked) for asked in left}
                waiting = [asked for asked in waiting if id(asked) not in done]
        return True

    def _answers(self, batch: Sequence[Asked], settings: TeacherSettings, *, told: bool) -> list[Answer]:
        read = self.encoder.template, self.info.columns
        rows = [columns_of(asked.question.columns, f"row {asked.question.id}", *read) for asked in batch]
        inputs = self.encoder.encode(rows)
        labels = [self.info.labels.write(asked.question.label) if told else "" for asked in batch]
        prompts = [item.input_ids + self._marker(label) for item, label in zip(inputs, labels, strict=True)]
        seed = (settings.seed or 0) + max(asked.attempt for asked in batch)
        answers = self._decode(prompts, labels, settings, seed)
        sizes = [len(asked.question.prompt.encode()) for asked in batch]
        return [replace(answer, prompt_bytes=size) for answer, size in zip(answers, sizes, strict=True)]

    def _marker(self, label: str) -> list[int]:
        """What follows an input: the rationale's marker, preceded by the answer if it is given."""
        template = self.info.sequence
        text = f"{template.answer}{label}{template.reason}" if label else template.reason
        return list(self.encoder.tokenizer(text.rstrip(" "), add_special_tokens=False)["input_ids"])

    def _decode(
        self, prompts: list[list[int]], labels: Sequence[str], settings: TeacherSettings, seed: int
    ) -> list[Answer]:
        """Answers to prompts, each with "" or the given label; none if the artifact's sequences have no room left."""
        longest = max(map(len, prompts))
        limit = min(settings.max_tokens, self.info.max_sequence_tokens - longest)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        if limit < 1:
            over = f"{longest} tokens leave no room within the artifact's {self.info.max_sequence_tokens}"
            return [Answer(failure=over, max_tokens=settings.max_tokens, time=now) for _ in prompts]
        written = generate(
            self.model,
            self.encoder.tokenizer,
            prompts,
            max_new_tokens=limit,
            temperature=TEMPERATURE if settings.temperature is None else settings.temperature,
            top_p=settings.top_p or 1.0,
            batch_size=len(prompts),
            seed=seed,
        )
        reader = HeadReader.of(self.info.labels, self.info.sequence, self.encoder.tokenizer)
        return [
            Answer(
                text=self._as_answer(new, reader, label, whole=len(new) < limit),
                finish="stop" if len(new) < limit else "length",  # eos is not among the new tokens
                label_given=bool(label),
                max_tokens=settings.max_tokens,
                prompt_tokens=len(prompt),
                completion_tokens=len(new),
                time=now,
            )
            for prompt, label, new in zip(prompts, labels, written, strict=True)
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
