"""Counters and log lines, without a text of a row."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("prometheus_client", reason="no prometheus_client: pip install 'dhrd[serve]'")

from dhrd.serving.monitoring import ServerMetrics, log_failure


def test_what_was_counted_is_told() -> None:
    metrics = ServerMetrics()
    metrics.ran(3, 120, 0.5)
    metrics.answered("/classify", 200, 0.03)
    text = metrics.text().decode()
    assert 'dhrd_requests_total{path="/classify",status="200"} 1.0' in text
    assert "dhrd_rows_total 3.0" in text and "dhrd_tokens_total 120.0" in text
    assert 'dhrd_request_seconds_bucket{le="0.05",path="/classify"} 1.0' in text
    assert "dhrd_rows_total 0.0" in ServerMetrics().text().decode()  # another server counts for itself


def test_a_failure_is_logged_by_kind_and_place_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dhrd"):
        try:
            raise ValueError("the customer's text")
        except ValueError as error:
            log_failure("classifying", error)
    assert "classifying failed: ValueError at" in caplog.text and "test_monitoring.py" in caplog.text
    assert "customer" not in caplog.text
