"""What all commands share: exit handling, flags generated from settings, and error messages that name flags.

The library's messages name an argument as `max_new_tokens`, with its value as `mode=cascade`, and a setting as
`data.train=FILE`, which suits callers from Python. A command that has a flag for one of them prints the flag instead.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NoReturn, get_args

import typer
import typer.main
from typer.core import TyperCommand

from dhrd._files import expanded
from dhrd._terminal import say
from dhrd.errors import DhrdError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_NAMED = re.compile(r"`([a-z_][a-z0-9_.]*)(?:=([^`\n]*))?`")
_KINDS = (bool, int, float, str)
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # where Typer keeps click's class depends on its version


class Command(TyperCommand):
    """A command that expands `~` in paths, names its flags in error messages, and reports how it ended."""

    sections: ClassVar[tuple[str, ...]] = ("data",)
    """Sections of the settings that the command reads, if it takes `--set`."""
    rows_option: ClassVar[str] = ""
    """How to pass rows, for commands that have neither `--input` nor `--data`."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse the arguments; for an unknown option, suggest the setting that may be meant."""
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            option = getattr(error, "option_name", None) or ""
            if option.startswith("--") and (setting := self._setting(option)):
                error.message += f"; {setting} is a setting, use --set {setting}=…"  # type: ignore[attr-defined]
                error.possibilities = None  # type: ignore[attr-defined]
            if "unexpected extra argument" in getattr(error, "message", "") and self._rows_option:
                error.message += f"; pass rows with {self._rows_option}"  # type: ignore[attr-defined]
            raise

    @property
    def _rows_option(self) -> str:
        """How to pass rows, for the error about an extra argument; "" if the command takes none."""
        flags = _flags_of(self)
        option = next((flags[name] for name in ("input", "data") if name in flags), "")
        return f"{option} FILE" if option else self.rows_option

    def _setting(self, option: str) -> str | None:
        """The setting that an unknown option may mean; None if the command has a flag for that setting."""
        from dhrd.config.load import nearest_setting

        if "set" not in _flags_of(self):
            return None
        setting = nearest_setting(option.removeprefix("--").replace("-", "_"), self.sections)
        return None if setting is None or _parameter_name(setting) in _flags_of(self) else setting

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        ctx.params = {name: expanded(value) for name, value in ctx.params.items()}
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _leave_quietly()
        except (DhrdError, KeyboardInterrupt) as error:
            error.__notes__ = [in_flags(note, _flags_of(self)) for note in getattr(error, "__notes__", ())]
            if isinstance(error, KeyboardInterrupt):
                stop("interrupted", 130, error)
            error.args = (in_flags(str(error), _flags_of(self)),)
            raise
        return result


class SettingsCommand(Command):
    """A command with flags for some settings: `--batch-size` for `training.batch_size`, `--teacher` for `teacher.name`.

    Types and help come from the schema, which is loaded only when the command is used, not for `dhrd --help`.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    sections = ("model", "data", "loss", "training", "tracking", "teacher", "output_dir", "seed")
    _params: list[Any]
    _is_complete: bool

    @property
    def params(self) -> list[Any]:
        """The command's own parameters, followed by those of the settings."""
        if not self._is_complete:
            self._is_complete = True
            self._params += _options(self.settings)
        return self._params

    @params.setter
    def params(self, own: list[Any]) -> None:
        self._params, self._is_complete = own, False

    def invoke(self, ctx: Any) -> Any:
        """Run it; the settings given as flags are put into the context, where `given` finds them."""
        values = {name: ctx.params.pop(name) for name in map(_parameter_name, self.settings)}
        ctx.obj = {name: value for name, value in values.items() if value is not None}
        return super().invoke(ctx)


@contextmanager
def interruptible(kept: str) -> Iterator[None]:
    """Wrap resumable work: Ctrl-C ends it with exit code 130.

    Args:
        kept: The message to print: what is kept, and how to continue.
    """
    try:
        yield
    except KeyboardInterrupt:
        say(f"dhrd: interrupted; {kept}", file=sys.stderr)
        raise typer.Exit(130) from None


def stop(message: str, code: int, error: BaseException | None = None) -> NoReturn:
    """Print an error message, followed by the error's notes, to stderr and exit."""
    message = "; ".join([message, *getattr(error, "__notes__", [])])
    say(f"dhrd: error: {message}", file=sys.stderr)
    sys.exit(code)


def _leave_quietly() -> NoReturn:
    """Exit with 0 after the reader of stdout has gone; Python's final flush goes to /dev/null."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def given(context: typer.Context) -> Mapping[str, Any]:
    """The settings given by a command's flags, as keyword arguments for `load_config`."""
    settings: Mapping[str, Any] = context.obj
    return settings


def _parameter_name(setting: str) -> str:
    return setting.replace(".", "__")


def _flag(setting: str) -> str:
    section, _, name = setting.rpartition(".")
    return "--" + (section if name == "name" else name).replace("_", "-")


def _options(settings: tuple[str, ...]) -> list[Any]:
    """Typer options for settings, taken from a throwaway command that has only these."""

    def carrier(**values: Any) -> None:
        raise AssertionError("never run")

    carrier.__signature__ = inspect.Signature(list(map(_parameter, settings)))  # type: ignore[attr-defined]
    lone = typer.Typer(add_completion=False)
    lone.command()(carrier)
    return list(typer.main.get_command(lone).params)


def _parameter(setting: str) -> inspect.Parameter:
    field = _field(setting)
    kind = next(kind for kind in _kinds(field.annotation) if kind in _KINDS)
    text = f"{' '.join((field.description or '').split())} [{setting}]"
    return inspect.Parameter(
        _parameter_name(setting),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, typer.Option(_flag(setting), help=text)],
    )


def _field(setting: str) -> FieldInfo:
    """The schema field of a setting, by its dotted name."""
    from dhrd.config import RunConfig

    *sections, name = setting.split(".")
    model: Any = RunConfig
    for section in sections:
        model = model.model_fields[section].annotation
    field: FieldInfo = model.model_fields[name]
    return field


def _kinds(annotation: Any) -> Iterator[Any]:
    """The annotation itself, then the types nested in it."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def in_flags(message: str, flags: Mapping[str, str]) -> str:
    """Rewrite a message so that it names flags instead of arguments.

    Args:
        message: Names arguments as `name` or `name=value`.
        flags: Flags by argument. A setting without a flag of its own becomes `--set NAME=VALUE`.
    """

    def spelled(match: re.Match[str]) -> str:
        name, value = match[1], match[2]
        flag = flags.get(name) or flags.get(_parameter_name(name))
        if flag is None:
            return f"{flags['set']} {name}={value}" if "." in name and value and "set" in flags else match[0]
        return f"{flag} {value}" if value else flag

    return _NAMED.sub(spelled, message)


def _flags_of(command: Any) -> dict[str, str]:
    """A command's flags, by parameter name and by their own name with `_` for dashes."""
    flags: dict[str, str] = {}
    for param in command.params:
        for flag in (*param.opts, *param.secondary_opts):
            if flag.startswith("--"):
                flags.setdefault(param.name, flag)
                flags[flag.removeprefix("--").replace("-", "_")] = flag
    return flags
