"""What a server takes on, and how it says that something is too much."""

from __future__ import annotations

from dataclasses import dataclass

from dhrd._text import clipped, escaped
from dhrd.config.section import check_count
from dhrd.errors import ConfigError

API_KEY = "DHRD_API_KEY"
"""The environment variable that names the key which requests must carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server takes on; beyond it a request is refused with what to do.

    Args:
        max_rows: Of a request.
        max_bytes: Of a request's body.
        max_requests: That are in the server at once, whatever they wait for.
        max_queue_tokens: Of all rows that wait for the model.
        deadline_s: From a request's beginning to its answer.
        max_explained_rows: Of a request for explanations; 0: none are given.
        max_new_tokens: Of an explanation.

    Raises:
        ConfigError: A number makes no sense.
    """

    max_rows: int = 128
    max_bytes: int = 2 << 20
    max_requests: int = 256
    max_queue_tokens: int = 65_536
    deadline_s: float = 60.0
    max_explained_rows: int = 4
    max_new_tokens: int = 200

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_bytes", "max_requests", "max_queue_tokens", "max_new_tokens"):
            check_count(name, getattr(self, name))
        check_count("max_explained_rows", self.max_explained_rows, least=0)
        if not 0 < self.deadline_s < float("inf"):
            raise ConfigError(f"`deadline_s`: give a number of seconds above 0, got {self.deadline_s}")


class Refusal(Exception):
    """A request that is not answered, as its client is told.

    Args:
        status: Of HTTP.
        kind: A word for programs.
        message: What was wrong and what to do.
        param: Which part of the body it was.
        retry_after_s: When to try again.
    """

    def __init__(
        self, status: int, kind: str, message: str, *, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(kind)
        self.status, self.kind, self.param, self.retry_after_s = status, kind, param, retry_after_s
        self.message = clipped(escaped(message))
