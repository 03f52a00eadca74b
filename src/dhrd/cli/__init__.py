"""The command line: `dhrd --help`. One file a command."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from dhrd._files import refuses_name
from dhrd._terminal import PlainFormatter, replace_unencodable
from dhrd._text import message_of
from dhrd.cli import (
    audit,
    benchmark,
    compare,
    decide,
    doctor,
    evaluate,
    export,
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
from dhrd.errors import DhrdError, UserError

app = typer.Typer(
    name="dhrd",
    help="Dual-Head Reasoning Distillation: classifiers that learn from reasoning and answer at pooled speed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


app.command("train", cls=train.TrainCommand)(train.train)
app.command("evaluate", cls=Command)(evaluate.evaluate)
app.command("update", cls=update.UpdateCommand)(update.update)
app.command("reproduce", cls=SettingsCommand)(reproduce.reproduce)
app.command("compare", cls=Command)(compare.compare)
app.command("decide", cls=Command)(decide.decide)
app.command("predict", cls=Command)(predict.predict)
app.command("select", cls=Command)(select.select)
app.command("label", cls=label.LabelCommand)(label.label)
app.command("serve", cls=Command)(serve.serve)
app.command("benchmark", cls=Command)(benchmark.benchmark)
app.command("export", cls=Command)(export.export)
app.command("doctor", cls=Command)(doctor.doctor)
app.add_typer(audit.app, name="audit")
app.add_typer(config_command.app, name="config")
app.add_typer(rationales.app, name="rationales")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 the user's input, 3 a limit of the user's, 130 Ctrl-C.

    SIGTERM and SIGHUP end it as Ctrl-C does; a reader of standard output that leaves ends it with 0.
    """
    replace_unencodable()
    _quiet()
    arguments = [_dashes(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    try:
        with _interrupting_signals() as received:
            try:
                _run_app(arguments)
            except Exception as error:  # a package that is stopped in its import says ImportError, or anything
                if received:
                    raise KeyboardInterrupt from error
                raise
    except DhrdError as error:
        stop(str(error), error.exit_code, error)
    except KeyboardInterrupt as error:
        stop("interrupted", 130, error)
    except MemoryError:
        stop("out of memory; lower training.batch_size or data.max_sequence_tokens", 1)
    except OSError as error:  # of a file or a connection that is read
        told = _told(error)
        stop(str(told), told.exit_code, error)


def _run_app(arguments: Sequence[str]) -> None:
    try:
        app(args=arguments, prog_name="dhrd")
    except SystemExit as stop:  # typer leaves in silence where a signal comes before or after the command itself
        if isinstance(getattr(stop.__context__, "__cause__", None), KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        raise


def _told(error: OSError) -> DhrdError:
    if refuses_name(error):
        return UserError(f"{error.filename}: {error.strerror}; give another name")
    return DhrdError(message_of(error))


@contextmanager
def _interrupting_signals() -> Iterator[list[int]]:
    """Let TERM and HUP end a command as Ctrl-C does, so that it tidies up; under `nohup` HUP stays ignored.

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
    """Take every flag in `-` and `_`, as the DHRD documents write them."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def _quiet() -> None:
    """Let libraries speak only when something is wrong, and our own messages as plain lines on stderr."""
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
