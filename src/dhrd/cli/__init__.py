"""The command line: `dhrd --help`. One file per command."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer

from dhrd import __version__
from dhrd._files import refuses_name
from dhrd._terminal import PlainFormatter, replace_closed, replace_unencodable, say
from dhrd._text import message_of
from dhrd.cli import (
    audit,
    benchmark,
    compare,
    decide,
    doctor,
    evaluate,
    export,
    init,
    label,
    predict,
    rationales,
    reproduce,
    select,
    serve,
    train,
    update,
)
from dhrd.cli import config as config_command
from dhrd.cli.command import Command, SettingsCommand, stop
from dhrd.cli.overview import JUDGE, OTHER, ROWS, USE, Overview
from dhrd.errors import DhrdError, UserError, is_out_of_memory

_OUT_OF_MEMORY = (
    "out of memory; to train, set a lower training.max_tokens_per_micro_batch or "
    "training.gradient_checkpointing: true; to classify, a lower --max-tokens-per-pass"
)

app = typer.Typer(
    name="dhrd",
    cls=Overview,
    help="Dual-Head Reasoning Distillation: classifiers that learn from reasoning and answer at pooled speed.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        say(f"dhrd {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of `dhrd` itself."""


app.command("init", cls=Command, rich_help_panel=USE)(init.init)
app.command("train", cls=train.TrainCommand, rich_help_panel=USE)(train.train)
app.command("evaluate", cls=Command, rich_help_panel=USE)(evaluate.evaluate)
app.command("predict", cls=Command, rich_help_panel=USE)(predict.predict)
app.command("serve", cls=Command, rich_help_panel=USE)(serve.serve)
app.command("update", cls=update.UpdateCommand, rich_help_panel=USE)(update.update)
app.command("compare", cls=Command, rich_help_panel=JUDGE)(compare.compare)
app.command("decide", cls=Command, rich_help_panel=JUDGE)(decide.decide)
app.command("benchmark", cls=Command, rich_help_panel=JUDGE)(benchmark.benchmark)
app.command("label", cls=label.LabelCommand, rich_help_panel=ROWS)(label.label)
app.command("select", cls=Command, rich_help_panel=ROWS)(select.select)
app.add_typer(rationales.app, name="rationales", rich_help_panel=ROWS)
app.add_typer(audit.app, name="audit", rich_help_panel=ROWS)
app.add_typer(config_command.app, name="config", rich_help_panel=OTHER)
app.command("export", cls=Command, rich_help_panel=OTHER)(export.export)
app.command("doctor", cls=Command, rich_help_panel=OTHER)(doctor.doctor)
app.command("reproduce", cls=SettingsCommand, rich_help_panel=OTHER)(reproduce.reproduce)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 success, 1 failure, 2 invalid input, 3 a limit set by the user, 130 Ctrl-C.

    SIGTERM and SIGHUP are handled like Ctrl-C. If the reader of standard output goes away, the exit code is 0.
    """
    replace_closed()
    replace_unencodable()
    _quiet()
    arguments = [_dashes(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    try:
        with _interrupting_signals() as received:
            try:
                _run_app(arguments)
            except Exception as error:  # a signal during an import can surface as any error
                if received:
                    raise KeyboardInterrupt from error
                raise
    except DhrdError as error:
        stop(str(error), error.exit_code, error)
    except KeyboardInterrupt as error:
        stop("interrupted", 130, error)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        stop(_OUT_OF_MEMORY, 1, error)
    except OSError as error:  # while reading a file or a connection
        failure = _as_dhrd_error(error)
        stop(str(failure), failure.exit_code, error)


def _run_app(arguments: Sequence[str]) -> None:
    try:
        app(args=arguments, prog_name="dhrd")
    except SystemExit as stop:  # typer exits silently on a signal before or after the command itself
        if isinstance(getattr(stop.__context__, "__cause__", None), KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise


def _as_dhrd_error(error: OSError) -> DhrdError:
    if refuses_name(error):
        return UserError(f"{error.filename}: {error.strerror}; give another name")
    return DhrdError(message_of(error))


@contextmanager
def _interrupting_signals() -> Iterator[list[int]]:
    """Handle SIGTERM and SIGHUP like Ctrl-C, so that a command cleans up; under `nohup`, SIGHUP stays ignored.

    Yields:
        The numbers of the signals received so far.
    """
    received: list[int] = []

    def interrupt(number: int, frame: Any) -> NoReturn:
        received.append(number)
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        ours = [one for one in ending if signal.getsignal(one) in (signal.SIG_DFL, signal.default_int_handler)]
        before = {one: signal.signal(one, interrupt) for one in ours}
    try:
        yield received
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _dashes(argument: str) -> str:
    """Accept `_` for `-` in flags, as the DHRD documents write them."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def _quiet() -> None:
    """Silence libraries except for errors, and log dhrd's own messages to stderr as plain lines."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("TQDM_DISABLE", "" if sys.stderr.isatty() else "1")
    warnings.simplefilter("ignore")
    logger = logging.getLogger("dhrd")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(PlainFormatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
