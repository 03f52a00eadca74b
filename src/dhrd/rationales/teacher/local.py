"""A teacher in this process: batched generation with transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import compress, islice
from typing import Literal, Self

import torch

from dhrd._device import check_device
from dhrd.config import ModelSettings, TeacherSettings
from dhrd.model.backbone import Backbone, load_backbone
from dhrd.model.generation import generate
from dhrd.rationales.teacher.answers import Answer
from dhrd.rationales.teacher.session import Asked, Session, Teacher

_BATCHES_AT_ONCE = 16  # questions of like length are decoded together; this many batches are sorted


@dataclass(frozen=True, slots=True)
class LocalTeacher:
    """A model that decodes here."""

    backbone: Backbone

    @classmethod
    def from_settings(cls, settings: TeacherSettings, device: str | None) -> Self:
        """Load the model: in bfloat16 on a GPU, in float32 elsewhere.

        Raises:
            ModelError: It cannot be loaded.
            ConfigError: There is no such device.
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        dtype: Literal["bfloat16", "float32"] = "bfloat16" if check_device(device) == "cuda" else "float32"
        backbone = load_backbone(ModelSettings(name_or_path=settings.model, dtype=dtype))
        backbone.model.to(device)
        return cls(backbone)

    def ask(self, questions: Iterator[Asked], session: Session) -> bool:
        """Answer all questions, and store the answers batch by batch.

        Raises:
            TeacherError: Every one of the first answers was cut.
        """
        size = session.settings.batch_size
        while window := list(islice(questions, size * _BATCHES_AT_ONCE)):
            window = list({asked.question.key: asked for asked in window}.values())
            tokens = {asked.question.key: _tokens(asked.question.prompt, self.backbone) for asked in window}
            waiting = sorted(window, key=lambda asked: -len(tokens[asked.question.key]))
            while waiting:
                batch, waiting = waiting[:size], waiting[size:]
                prompts = [tokens[asked.question.key] for asked in batch]
                answers = _answer(batch, prompts, session, self.backbone)
                waiting += keep_answers(batch, answers, session)
        return True


TEACHER: type[Teacher] = LocalTeacher


def keep_answers(batch: Sequence[Asked], answers: Sequence[Answer], session: Session) -> list[Asked]:
    """Store the answers of a batch; the questions that these do not settle."""
    session.store.append((asked.question.key, answer) for asked, answer in zip(batch, answers, strict=True))
    unsettled = []
    for asked, answer in zip(batch, answers, strict=True):
        session.tally.num_requests += 1
        session.tally.add(answer)
        asked.answers.append(answer)
        session.check_limit(asked)
        if session.is_settled(asked):
            session.advance()
        else:
            unsettled.append(asked)
    return unsettled


def _tokens(prompt: str, backbone: Backbone) -> list[int]:
    """The prompt as one user turn of the model's chat template, or as it is where the model has none."""
    tokenizer = backbone.tokenizer
    if not tokenizer.chat_template:
        return list(tokenizer(prompt)["input_ids"])
    turn = [{"role": "user", "content": prompt}]
    return list(tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True)["input_ids"])


def _answer(batch: Sequence[Asked], prompts: Sequence[list[int]], session: Session, backbone: Backbone) -> list[Answer]:
    settings = session.settings
    context = getattr(backbone.model.config.get_text_config(), "max_position_embeddings", None)
    fits = [not context or len(prompt) + settings.max_tokens <= context for prompt in prompts]
    outputs = generate(
        backbone.model,
        backbone.tokenizer,
        list(compress(prompts, fits)),
        max_new_tokens=settings.max_tokens,
        temperature=settings.temperature or 0.0,
        top_p=settings.top_p or 1.0,
        batch_size=len(batch),
        seed=[(settings.seed or 0) + asked.attempt for asked in compress(batch, fits)],
    )
    left = iter(outputs)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    answers = []
    for asked, prompt, fit in zip(batch, prompts, fits, strict=True):
        answer = Answer(max_tokens=settings.max_tokens, time=now)
        if fit:
            new = next(left)
            answer = replace(
                answer,
                text=backbone.tokenizer.decode(new, skip_special_tokens=True),
                finish="length" if len(new) >= settings.max_tokens else "stop",  # eos is not among the new tokens
                prompt_bytes=len(asked.question.prompt.encode()),
                prompt_tokens=len(prompt),
                completion_tokens=len(new),
            )
        else:
            over = f"{len(prompt)} prompt tokens and max_tokens {settings.max_tokens} exceed the context of {context}"
            answer = replace(answer, failure=over)
        answers.append(answer)
    return answers
