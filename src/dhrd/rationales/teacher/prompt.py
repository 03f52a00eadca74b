"""The question that the teacher is asked: zero-shot chain of thought (paper, experimental setup).

The teacher gets the text that the classifier reads and, unless it is hidden or asked for, the gold label. It writes an
explanation in which the label is forbidden, a sentinel line, and the answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from dhrd.config import DataSettings, TeacherSettings
from dhrd.data.records import Example, LabelSet
from dhrd.data.row import Columns
from dhrd.data.source import Source
from dhrd.data.templates import InputTemplate
from dhrd.errors import ConfigError

SENTINEL = "[END OF REASONING]"
"""The line between explanation and answer (paper, experimental setup)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A row as the teacher is asked it.

    Args:
        id: The row's id.
        prompt: The whole question.
        key: Content address of what is asked, of whom, and how it is sampled: equal questions are asked once.
        label: Class indices of the gold label; empty if the row has none.
        digest: Digest of the row's text, which the rationale is about.
        columns: The row's columns.
    """

    id: str
    prompt: str
    key: str
    label: tuple[int, ...]
    digest: str = ""
    columns: Columns = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """The prompt's text over `input`, `label` (unless hidden), `labels`, `sentinel`, `task`, and the row's columns.

    Args:
        text: Jinja2.
        name: Where it comes from, for messages.
        label_hidden: Whether the label is hidden from the teacher.
        explains: Whether an answer must have an explanation.
    """

    text: str
    name: str
    label_hidden: bool
    explains: bool = True

    @property
    def sha256(self) -> str:
        """SHA-256 of the text, for the manifest."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def compile(self) -> InputTemplate:
        """The template, ready to be filled in.

        Raises:
            ConfigError: It is not Jinja2, has no sentinel, or lacks the label although it is not hidden.
        """
        template = InputTemplate(self.text, setting=self.name)
        if self.explains and "sentinel" not in template.variables and SENTINEL not in self.text:
            raise ConfigError(f"{self.name}: must ask for a line {{{{ sentinel }}}} between explanation and answer")
        if not self.label_hidden and "label" not in template.variables:
            raise ConfigError(
                f"{self.name}: does not tell the teacher {{{{ label }}}}; use it, or give `teacher.label_hidden`"
            )
        return template


OWN_PROMPT = PromptTemplate("{{ input }}\n{{ label }}", "the artifact's own sequence", False, explains=False)
"""What makes two questions one where an artifact is its own teacher: text and label. The model reads the row by its own
input template."""


def load_template(settings: TeacherSettings, *, asks_label: bool = False) -> PromptTemplate:
    """The user's template, or the paper's protocol.

    Args:
        settings: The teacher's settings.
        asks_label: Whether the label is asked for: it is then not given, and an explanation may be missing.

    Raises:
        ConfigError: The file cannot be read.
    """
    hidden = settings.label_hidden or asks_label
    if settings.template is None:
        name = "label_asked.jinja" if asks_label else "label_hidden.jinja" if hidden else "label_given.jinja"
        text = resources.files("dhrd.rationales.teacher").joinpath("templates", name).read_text(encoding="utf-8")
        return PromptTemplate(text, name, hidden, not asks_label)
    try:
        text = Path(settings.template).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"teacher.template: {settings.template}: cannot be read: {error}") from error
    return PromptTemplate(text, str(settings.template), hidden, not asks_label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The rows of a source as questions; may be iterated again, in constant memory.

    Args:
        source: The rows.
        labels: The label set.
        template: The prompt.
        settings: The teacher's settings.
        data: The rows' data settings, which name the label column.
        meanings: What each label's word means, if the teacher is given this.
        labels_required: Whether the rows have labels.
        limit: Use only the first N rows.
    """

    source: Source
    labels: LabelSet
    template: PromptTemplate
    settings: TeacherSettings
    data: DataSettings
    meanings: Mapping[str, str] | None = None
    labels_required: bool = True
    limit: int | None = None

    def __iter__(self) -> Iterator[Question]:
        """Yield one question per row.

        Raises:
            DataError: A row is malformed, or lacks a column that a template reads.
        """
        prompt, text = self.template.compile(), InputTemplate(self.source.template)
        address = key_of(self.settings)
        for example in self.source.examples(labels_required=self.labels_required, limit=self.limit):
            label = self.labels.encode(example.label, example.where) if example.label is not None else ()
            asked = prompt.render(self._variables(example, text, label), where=example.where)
            yield Question(
                id=example.id,
                prompt=asked,
                key=address(asked),
                label=label,
                digest=example.digest,
                columns=example.fields,
            )

    def _variables(self, example: Example, text: InputTemplate, label: tuple[int, ...]) -> dict[str, object]:
        # A row's own columns must not reveal what is hidden from the teacher: the label, or an older rationale.
        secret = {name for field in ("label", "rationale") for name in (field, self.data.columns.get(field))}
        task = self.source.task
        return {
            **{name: value for name, value in example.columns().items() if name not in secret},
            "input": text.render(example.columns(), where=example.where),
            "labels": list(self.labels.words),
            "sentinel": SENTINEL,
            "task": task.name if task else "",
            **({} if self.template.label_hidden else {"label": self.labels.write(label)}),
            **({} if self.meanings is None else {"meanings": self.meanings}),
        }


def key_of(settings: TeacherSettings) -> Callable[[str], str]:
    """A function from a prompt to the content address of its answers.

    Limits (`max_tokens`, timeouts, attempts) and the endpoint's address are no part of it: raising a limit or serving
    the same model elsewhere asks nothing again.
    """
    asked_of: list[object] = [settings.name, settings.temperature, settings.top_p, settings.seed]
    if settings.reasoning_effort is not None or settings.extra_body:  # else as before there were these
        asked_of.append([settings.reasoning_effort, settings.extra_body])

    def address(prompt: str) -> str:
        return hashlib.sha256(json.dumps([*asked_of, prompt], sort_keys=True, default=str).encode()).hexdigest()[:32]

    return address
