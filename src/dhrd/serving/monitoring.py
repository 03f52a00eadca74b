"""A server's metrics and logs, which never contain a row's text."""

from __future__ import annotations

import logging
import traceback

from dhrd._extras import require

logger = logging.getLogger("dhrd")

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ServerMetrics:
    """Prometheus metrics of one server.

    Raises:
        MissingExtra: prometheus-client is not installed.
    """

    def __init__(self) -> None:
        client = require("prometheus_client", extra="serve")
        self.registry = client.CollectorRegistry()
        kept = {"registry": self.registry}
        self.requests = client.Counter("dhrd_requests", "Requests by path and status.", ["path", "status"], **kept)
        self.seconds = client.Histogram(
            "dhrd_request_seconds", "Time from a request to its response.", ["path"], buckets=_SECONDS, **kept
        )
        self.in_flight = client.Gauge("dhrd_requests_in_flight", "Requests in progress.", **kept)
        self.queue_tokens = client.Gauge("dhrd_queue_tokens", "Tokens of the rows queued for the model.", **kept)
        self.queue_rows = client.Gauge("dhrd_queue_rows", "Rows queued for the model.", **kept)
        self.rows = client.Counter("dhrd_rows", "Rows classified by the model.", **kept)
        self.tokens = client.Counter("dhrd_tokens", "Tokens of those rows.", **kept)
        self.batch_rows = client.Histogram("dhrd_batch_rows", "Rows per batch.", buckets=_ROWS, **kept)
        self.busy_seconds = client.Counter("dhrd_busy_seconds", "Time the model was busy.", **kept)
        self.rows_cut = client.Counter("dhrd_rows_cut", "Rows that were truncated.", **kept)
        self.rows_abstained = client.Counter("dhrd_rows_abstained", "Rows on which the decision abstained.", **kept)
        self.rows_explained = client.Counter("dhrd_rows_explained", "Rows that were explained.", **kept)

    def ran(self, num_rows: int, num_tokens: int, seconds: float) -> None:
        """Record a batch."""
        self.rows.inc(num_rows)
        self.tokens.inc(num_tokens)
        self.batch_rows.observe(num_rows)
        self.busy_seconds.inc(seconds)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Record and log a request."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)
        logger.info("%s %d %.0f ms", path, status, 1000 * seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return bytes(require("prometheus_client", extra="serve").generate_latest(self.registry))


def log_failure(what: str, error: BaseException) -> None:
    """Log an internal error by type and location only, as its message may quote a row."""
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    logger.error("%s failed: %s at %s", what, type(error).__name__, " < ".join(reversed(places[-6:])))
