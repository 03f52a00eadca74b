"""What all sections of the settings share: their base class and the kinds of numbers in them."""

from __future__ import annotations

from numbers import Integral
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from dhrd._files import expanded
from dhrd._text import shown
from dhrd.errors import ConfigError


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):  # what YAML makes of yes and no; to Python they are 1 and 0
        raise ValueError("a boolean is no number")
    return value


_NUMBER = BeforeValidator(_no_boolean)
Share = Annotated[float, Field(ge=0.0, lt=1.0), _NUMBER]
Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False), _NUMBER]
Part = Annotated[float, Field(gt=0.0, le=1.0), _NUMBER]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False), _NUMBER]
Count = Annotated[int, Field(ge=1, le=2**31 - 1), _NUMBER]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), _NUMBER]
FileName = Annotated[str, AfterValidator(expanded)]
"""A path, or a name of something else; `~/` is the home directory."""

OneOrMore = BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
"""A name alone is a list of one."""


def _spelled(value: object) -> object:
    """A whole number as its digits; all else as it is, so that what is no text is refused by its type."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(int(value)) if isinstance(value, int) and not isinstance(value, bool) else value


LabelName = Annotated[str, BeforeValidator(_spelled)]
"""A label's text. An integer is the name that it spells; YAML's booleans are refused, for they lost their text."""


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"needs two or more different names, got {list(names)}")
    return names


LabelNames = Annotated[tuple[LabelName, ...], AfterValidator(_distinct)]
"""The labels of a task."""


def check_count(name: str, value: Any, *, least: int = 1) -> int:
    """An argument that counts something.

    Raises:
        ConfigError: It is no whole number, or a smaller one.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ConfigError(f"`{name}`: give a whole number of {least} or more, got {shown(value)}")
    return int(value)


class Section(BaseModel):
    """Common behaviour of all sections: frozen, unknown keys refused, docstrings under fields are descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())
