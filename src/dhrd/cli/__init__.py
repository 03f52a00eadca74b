"""The command line: `dhrd --help`. One file a command."""

from __future__ import annotations

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import typer

from dhrd._terminal import PlainFormatter, replace_unencodable, say
from dhrd.cli import benchmark, compare, doctor, evaluate, export, predict, rationales, reproduce, train
from dhrd.cli import config as config_command
from dhrd.errors import DhrdError

app = typer.Typer(
    name="dhrd",
    help="Dual-Head Reasoning Distillation: classifiers that learn from reasoning and answer at pooled speed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _interruptible(command: Callable[..., None]) -> Callable[..., None]:
    """Say so when Ctrl-C ends a command: typer would leave in silence."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            _stop("interrupted", 130)

    return run


app.command("train")(_interruptible(train.train))
app.command("evaluate")(_interruptible(evaluate.evaluate))
app.command("reproduce")(_interruptible(reproduce.reproduce))
app.command("compare")(_interruptible(compare.compare))
app.command("predict")(_interruptible(predict.predict))
app.command("benchmark")(_interruptible(benchmark.benchmark))
app.command("export")(_interruptible(export.export))
app.command("doctor")(_interruptible(doctor.doctor))
app.add_typer(config_command.app, name="config")
app.add_typer(rationales.app, name="rationales")
for group in app.registered_groups:
    assert group.typer_instance is not None
    for command in group.typer_instance.registered_commands:
        assert command.callback is not None
        command.callback = _interruptible(command.callback)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 the user's input, 3 a limit of the user's, 130 Ctrl-C."""
    replace_unencodable()
    _quiet()
    arguments = [_dashes(argument) for argument in (sys.argv[1:] if arguments is None else arguments)]
    try:
        app(args=arguments, prog_name="dhrd")
    except DhrdError as error:
        _stop(str(error), error.exit_code)
    except KeyboardInterrupt:
        _stop("interrupted", 130)
    except MemoryError:
        _stop("out of memory; lower training.batch_size or data.max_sequence_tokens", 1)
    except OSError as error:
        if error.filename is None:  # nothing to name: then only the traceback tells where it was
            raise
        _stop(str(DhrdError(f"{error.filename}: {error.strerror}")), 1)


def _dashes(argument: str) -> str:
    """Take every flag in `-` and `_`, as the DHRD documents write them."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def _stop(message: str, code: int) -> None:
    say(f"dhrd: error: {message}", file=sys.stderr)
    sys.exit(code)


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
