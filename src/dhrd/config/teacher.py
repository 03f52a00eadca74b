"""The settings of who writes the rationales, and labels rows."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from dhrd._text import shown
from dhrd.config.address import parse_address
from dhrd.config.section import Count, FileName, Positive, Section, Weight

TEACHERS = {"openai": "MODEL", "local": "MODEL_OR_PATH", "self": "DIR"}
"""Kinds of teachers, each with what follows its name; `rationales/teacher/KIND.py` has its class as `TEACHER`."""

_GREEDY = frozenset({"local"})
"""Kinds that take the likeliest token where no temperature is given."""
_OURS = ("model", "messages", "stream", "n", "temperature", "top_p", "seed", "max_tokens", "max_completion_tokens")
_SECRET = re.compile(r"api[_-]?key|password|secret|authorization|credential", re.IGNORECASE)


class TeacherSettings(Section):
    """Who writes the rationales (`dhrd rationales generate`) or labels rows (`dhrd label`), and within which limits."""

    name: FileName | None = None
    """`openai:MODEL` at any OpenAI-compatible endpoint; `local:` and what `model.name_or_path` takes; `self:DIR`: the
    reasoning head of the artifact DIR, of which a rationale is kept where its own answer is the label."""
    base_url: str | None = None
    """The endpoint; null: the environment's OPENAI_BASE_URL, else OpenAI's own."""
    template: FileName | None = None
    """A Jinja2 file, the prompt; null: the paper's protocol."""
    label_hidden: bool = False
    """Do not tell the teacher the label; keep a rationale only where the teacher's own answer is the label."""
    samples: Count = 1
    """With `label_hidden`: ask so many times, and keep the first rationale that ends in the label. `self:` asks once
    more with the label told, where none did."""
    labels: FileName | None = None
    """`dhrd label`: a YAML file of the labels, `NAME: what it means` a line, or a list of names; null: data.labels."""
    votes: Count = 5
    """`dhrd label`: ask so many times for the label of a row; the shares of the answers are its label."""
    attempts: Count = 3
    """Ask again, up to so many times in all, where an answer is empty, cut, or without the sentinel."""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    """Of sampling; null: the endpoint's own default; `local:` takes the likeliest token, `self:` 0.7."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Nucleus of sampling; null: the endpoint's own default."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    """Of sampling, raised by one with each further answer to a row; null: none is sent; `local:` takes 0."""
    reasoning_effort: str | None = None
    """How long a reasoning model thinks, in the endpoint's words ("minimal", "low", …); null: its own default."""
    extra_body: dict[str, Any] = Field(default={})
    """Further fields of each request, as `chat_template_kwargs: {enable_thinking: false}`; the manifest tells them."""
    extra_headers: dict[str, str] = Field(default={}, exclude=True, repr=False)
    """Further headers of each request. They may hold secrets, so they are in no file that dhrd writes."""
    max_tokens: Count = 512
    """Longest answer, thinking included: a teacher that thinks before it answers needs 4000 or more."""
    timeout_s: Positive = 120.0
    """Longest wait for a whole answer, in seconds."""
    max_retries: Annotated[int, Field(ge=0, le=1000)] = 6
    """Send a request again, up to so many times, where no answer came: 429, 5xx, a timeout, a cut connection."""
    concurrency: Count = 16
    """Requests in flight."""
    requests_per_minute: Positive | None = None
    """At most so many requests a minute, evenly spread; null: no limit."""
    tokens_per_minute: Positive | None = None
    """At most so many tokens a minute, prompts and answers; null: no limit."""
    input_price: Weight | None = None
    """Price of a million prompt tokens."""
    output_price: Weight | None = None
    """Price of a million answer tokens."""
    max_cost: Positive | None = None
    """Stop before all answers to this output file together cost more, in the currency of the prices."""
    tokenizer: FileName | None = None
    """Counts tokens for estimates, as `model.name_or_path`; null: what answers so far show, else 4 bytes a token."""
    batch_size: Count = 16
    """`local:`, `self:`: rows decoded together."""

    @property
    def kind(self) -> str:
        """Of the teacher: a key of `TEACHERS`."""
        return (self.name or "").partition(":")[0]

    @property
    def model(self) -> str:
        """The teacher's name without its kind."""
        return (self.name or "").partition(":")[2]

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest tokens are taken, which are the same each time."""
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
                    f"{name} is not for extra_body; it has a setting of its own, or would change the answer"
                )
            if _SECRET.search(name):
                raise ValueError(f"{name} looks like a secret, and the manifest tells extra_body; use extra_headers")
        return body

    @field_validator("extra_headers", mode="before")
    @classmethod
    def _check_headers(cls, headers: object) -> dict[str, str]:
        """Names and values that can be sent; no value is repeated in a message."""
        if not isinstance(headers, dict):
            raise ValueError("extra_headers is no mapping; write NAME: VALUE")
        for name, value in headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", str(name)):
                raise ValueError("extra_headers: a name of a header has letters, digits and - alone; correct it")
            if isinstance(value, dict | list) or not re.fullmatch(r"[\x20-\x7e\t]*", str(value).strip()):
                raise ValueError(f"extra_headers: the value of {name} cannot be sent: a line end, or no ASCII text")
        return {str(name): str(value).strip() for name, value in headers.items()}

    @model_validator(mode="after")
    def _check(self) -> TeacherSettings:
        if self.name is not None and not (self.kind in TEACHERS and self.model.strip()):
            forms = " or ".join(f"{kind}:{form}" for kind, form in TEACHERS.items())
            raise ValueError(f"name {shown(self.name)} is unknown; write {forms}")
        if self.kind == "self" and self.template is not None:
            raise ValueError("template is a prompt's, and self: reads rows as it was trained; leave it out")
        if self.samples > 1 and not (self.label_hidden or self.kind == "self"):
            raise ValueError("samples chooses by the teacher's own answer, so it needs label_hidden")
        if self.samples > 1 and (self.temperature == 0 or self.is_greedy):
            raise ValueError("samples would all be the same; give a temperature above 0")
        if self.max_cost is not None and (self.input_price is None or self.output_price is None):
            raise ValueError("max_cost needs input_price and output_price, per million tokens")
        return self
