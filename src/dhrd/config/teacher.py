"""The settings of who writes the rationales."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from dhrd._text import shown
from dhrd.config.section import Count, FileName, Positive, Section, Weight


class TeacherSettings(Section):
    """Who writes the rationales, and within which limits (`dhrd rationales generate`)."""

    name: FileName | None = None
    """`openai:MODEL` at any OpenAI-compatible endpoint, or `local:` and what `model.name_or_path` takes."""
    base_url: str | None = None
    """The endpoint; null: the environment's OPENAI_BASE_URL, else OpenAI's own."""
    template: FileName | None = None
    """A Jinja2 file, the prompt; null: the paper's protocol."""
    label_hidden: bool = False
    """Do not tell the teacher the label; keep a rationale only where the teacher's own answer is the label."""
    samples: Count = 1
    """With `label_hidden`: ask so many times, and keep the first rationale that ends in the label."""
    attempts: Count = 3
    """Ask again, up to so many times in all, where an answer is empty, cut, or without the sentinel."""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    """Of sampling; null: the endpoint's own default; `local:` takes the likeliest token."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Nucleus of sampling; null: the endpoint's own default."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    """Of sampling, raised by one with each further answer to a row; null: none is sent; `local:` takes 0."""
    max_tokens: Count = 512
    """Longest answer. A teacher that thinks before it answers needs more."""
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
    """`local:`: rows decoded together."""

    @model_validator(mode="after")
    def _check(self) -> TeacherSettings:
        kind, _, model = (self.name or "openai:x").partition(":")
        if kind not in ("openai", "local") or not model.strip():
            raise ValueError(f"name {shown(self.name)} is unknown; write openai:MODEL or local:MODEL_OR_PATH")
        if self.base_url is not None and not self.base_url.startswith(("http://", "https://")):
            raise ValueError(f"base_url {shown(self.base_url)} is no address; write http://HOST:PORT/v1 or https://…")
        if self.samples > 1 and not self.label_hidden:
            raise ValueError("samples chooses by the teacher's own answer, so it needs label_hidden")
        if self.samples > 1 and (self.temperature == 0 or (kind == "local" and not self.temperature)):
            raise ValueError("samples would all be the same; give a temperature above 0")
        if self.max_cost is not None and (self.input_price is None or self.output_price is None):
            raise ValueError("max_cost needs input_price and output_price, per million tokens")
        return self
