"""The settings of the teacher that writes rationales and labels rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from dhrd._text import shown
from dhrd.config.address import parse_address
from dhrd.config.section import Count, FileName, Positive, Section, Weight

TEACHERS = {"openai": "MODEL", "local": "MODEL_OR_PATH", "self": "DIR"}
"""Kinds of teachers and what follows the colon in their names; `rationales/teacher/KIND.py` defines `TEACHER`."""

_GREEDY = frozenset({"local"})
"""Kinds that decode greedily if no temperature is given."""
_OURS = ("model", "messages", "stream", "n", "temperature", "top_p", "seed", "max_tokens", "max_completion_tokens")
_SECRET = re.compile(
    r"api[_-]?key|password|secret|authorization|credential|(?:^|access|auth|bearer|session|refresh)[_-]?token$",
    re.IGNORECASE,
)


def _names(value: object) -> Iterator[str]:
    """The names in a body, at any depth."""
    for name, part in value.items() if isinstance(value, dict) else ():
        yield str(name)
        yield from _names(part)
    for part in value if isinstance(value, list | tuple) else ():
        yield from _names(part)


class TeacherSettings(Section):
    """The teacher that writes rationales (`dhrd rationales generate`) or labels rows (`dhrd label`), and its limits."""

    name: FileName | None = None
    """`openai:MODEL` at any OpenAI-compatible endpoint; `local:` with a value as for `model.name_or_path`; `self:DIR`:
    the reasoning head of the artifact DIR, whose rationales are kept only if they end in the row's label."""
    base_url: str | None = None
    """The endpoint's URL; null: OPENAI_BASE_URL from the environment, else OpenAI."""
    template: FileName | None = None
    """Jinja2 file with the prompt; null: the paper's prompt."""
    label_hidden: bool = False
    """Hide the label from the teacher, and keep a rationale only if the teacher's own answer is the label."""
    samples: Count = 1
    """With `label_hidden`: number of tries; the first rationale that ends in the label is kept. If none does, `self:`
    tries once more with the label given."""
    labels: FileName | None = None
    """`dhrd label`: YAML file of the labels, either lines of `NAME: what it means` or a list; null: data.labels."""
    votes: Count = 5
    """`dhrd label`: number of times to ask for a row's label; the shares of the answers become its soft label."""
    attempts: Count = 3
    """Maximum number of times to ask for an answer that comes back empty, cut off, or without the answer marker."""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    """Sampling temperature; null: the endpoint's default, greedy decoding for `local:`, 0.7 for `self:`."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Nucleus sampling probability; null: the endpoint's default."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    """Sampling seed, increased by one for each further answer to a row; null: not sent (0 for `local:`)."""
    reasoning_effort: str | None = None
    """Reasoning effort, in the endpoint's terms ("minimal", "low", …); null: the endpoint's default."""
    extra_body: dict[str, Any] = Field(default={})
    """Further fields of each request, as `chat_template_kwargs: {enable_thinking: false}`; saved in the manifest."""
    extra_headers: dict[str, str] = Field(default={}, exclude=True, repr=False)
    """Further headers of each request. As they may contain secrets, dhrd writes them to no file."""
    max_tokens: Count = 512
    """Maximum tokens of an answer, thinking included: reasoning models need 4000 or more."""
    timeout_s: Positive = 120.0
    """Timeout for a complete answer, in seconds."""
    max_retries: Annotated[int, Field(ge=0, le=1000)] = 6
    """Maximum retries of a failed request: 429, 5xx, a timeout or a broken connection."""
    concurrency: Count = 16
    """Number of concurrent requests."""
    requests_per_minute: Positive | None = None
    """Maximum requests per minute, evenly spaced; null: no limit."""
    tokens_per_minute: Positive | None = None
    """Maximum tokens per minute, prompts and answers together; null: no limit."""
    input_price: Weight | None = None
    """Price per million prompt tokens."""
    output_price: Weight | None = None
    """Price per million answer tokens."""
    max_cost: Positive | None = None
    """Stop before the total cost of this output file exceeds this, in the currency of the prices."""
    tokenizer: FileName | None = None
    """Tokenizer for estimates, as `model.name_or_path`; null: extrapolate from past answers, or 4 bytes per token."""
    batch_size: Count = 16
    """`local:`, `self:`: rows to decode together."""

    @property
    def kind(self) -> str:
        """The kind of teacher: a key of `TEACHERS`."""
        return (self.name or "").partition(":")[0]

    @property
    def model(self) -> str:
        """The teacher's name without its kind."""
        return (self.name or "").partition(":")[2]

    @property
    def is_greedy(self) -> bool:
        """Whether decoding is greedy, so that repeated answers are the same."""
        return self.kind in _GREEDY and not self.temperature

    @field_validator("base_url", mode="after")
    @classmethod
    def _check_address(cls, base_url: str | None) -> str | None:
        if base_url is None or not base_url.strip():
            return None
        try:
            parse_address(base_url)
        except ValueError as error:
            raise ValueError(f"base_url {error}") from None
        return base_url.strip()

    @field_validator("extra_body", mode="after")
    @classmethod
    def _check_body(cls, body: dict[str, Any]) -> dict[str, Any]:
        for name in body:
            if name in _OURS:
                raise ValueError(
                    f"{name} is not allowed in extra_body; it has a setting of its own, or would change the answer"
                )
        for name in _names(body):
            if _SECRET.search(name):
                raise ValueError(f"{name} looks like a secret, and the manifest records extra_body; use extra_headers")
        return body

    @field_validator("extra_headers", mode="before")
    @classmethod
    def _check_headers(cls, headers: object) -> dict[str, str]:
        """Check that names and values can be sent; messages quote no values."""
        if not isinstance(headers, dict):
            raise ValueError("extra_headers must be a mapping; write NAME: VALUE")
        for name, value in headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", str(name)):
                raise ValueError("extra_headers: header names may contain only letters, digits and -; correct it")
            if isinstance(value, dict | list) or not re.fullmatch(r"[\x20-\x7e\t]*", str(value).strip()):
                raise ValueError(
                    f"extra_headers: the value of {name} cannot be sent: it must be a single line of ASCII text"
                )
        return {str(name): str(value).strip() for name, value in headers.items()}

    @model_validator(mode="after")
    def _check(self) -> TeacherSettings:
        if self.name is not None and not (self.kind in TEACHERS and self.model.strip()):
            forms = " or ".join(f"{kind}:{form}" for kind, form in TEACHERS.items())
            raise ValueError(f"name {shown(self.name)} is unknown; write {forms}")
        if self.kind == "self" and self.template is not None:
            raise ValueError("template sets a prompt, but self: reads rows as in its training; leave it out")
        if self.samples > 1 and not (self.label_hidden or self.kind == "self"):
            raise ValueError("samples above 1 needs label_hidden, as it keeps rationales by the teacher's own answer")
        if self.samples > 1 and (self.temperature == 0 or self.is_greedy):
            raise ValueError("all samples would be the same; give a temperature above 0")
        if self.max_cost is not None and (self.input_price is None or self.output_price is None):
            raise ValueError("max_cost needs input_price and output_price, per million tokens")
        return self
