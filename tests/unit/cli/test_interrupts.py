"""A signal ends the command line with 130, whatever becomes of the exception on its way."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import pytest

from dhrd import cli


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_a_package_turned_into_another_error_is_an_interruption(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped_in_an_import(arguments: Sequence[str]) -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    monkeypatch.setattr(cli, "_run_app", stopped_in_an_import)
    if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("SIGHUP is ignored here, as under nohup")
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == 130
    assert capsys.readouterr().err.strip() == "dhrd: error: interrupted"
    assert signal.getsignal(number) == before


def test_an_error_without_a_signal_is_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(arguments: Sequence[str]) -> None:
        raise ImportError("initialization failed")

    monkeypatch.setattr(cli, "_run_app", broken)
    with pytest.raises(ImportError, match="initialization failed"):
        cli.main([])
