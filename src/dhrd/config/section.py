"""The base class of all sections of the settings, and the types of their values."""

from __future__ import annotations

from numbers import Integral
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from dhrd._files import expanded
from dhrd._text import shown
from dhrd.errors import ConfigError


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):  # YAML reads yes and no as booleans, which Python treats as 1 and 0
        raise ValueError("a boolean is not a number")
    return value


_NUMBER = BeforeValidator(_no_boolean)
Share = Annotated[float, Field(ge=0.0, lt=1.0), _NUMBER]
Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False), _NUMBER]
Part = Annotated[float, Field(gt=0.0, le=1.0), _NUMBER]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False), _NUMBER]
Count = Annotated[int, Field(ge=1, le=2**31 - 1), _NUMBER]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1), _NUMBER]
FileName = Annotated[str, AfterValidator(expanded)]
"""A path or another name; `~/` is expanded to the home directory."""

OneOrMore = BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
"""A list of names; a single name becomes a list of one."""


def _spelled(value: object) -> object:
    """Turn a whole number into its digits; leave other values for pydantic to check."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(int(value)) if isinstance(value, int) and not isinstance(value, bool) else value


LabelName = Annotated[str, BeforeValidator(_spelled)]
"""A label's name. Integers become their digits; booleans are rejected, as YAML has lost their spelling."""


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"needs at least two different names, got {list(names)}")
    return names


LabelNames = Annotated[tuple[LabelName, ...], AfterValidator(_distinct)]
"""The labels of a task."""


def check_count(name: str, value: Any, *, least: int = 1) -> int:
    """Check an argument that counts something, and return it as an int.

    Raises:
        ConfigError: The value is not a whole number, or is below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ConfigError(f"`{name}`: give a whole number of at least {least}, got {shown(value)}")
    return int(value)


class Section(BaseModel):
    """Base of all sections: frozen, without unknown keys, with docstrings below fields as descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())
