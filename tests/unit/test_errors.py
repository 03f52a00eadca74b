"""Errors for users: what their messages may hold, and the tree that they make."""

from __future__ import annotations

import pickle
import re

import pytest
import torch

from dhrd import errors
from dhrd._text import LONGEST_LINE
from dhrd.errors import DataError, DhrdError, UserError, is_out_of_memory


def test_an_error_bounds_each_line_and_survives_pickling() -> None:
    error = DataError("\n".join(["x" * 1000] * 3))
    assert [len(line) for line in str(error).split("\n")] == [LONGEST_LINE] * 3
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DhrdError)]
    drawn = re.findall(r"^    (?:[│ ]*[├└]── )?(\w+Error|MissingExtra) ", errors.__doc__ or "", re.MULTILINE)
    assert sorted(kind.__name__ for kind in kinds) == sorted(drawn)
    assert len(drawn) == 12
    assert {kind.exit_code for kind in kinds if issubclass(kind, UserError)} == {2}
    assert {kind.exit_code for kind in kinds if not issubclass(kind, UserError)} == {1}


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_whether_memory_ran_out(error: Exception, ran_out: bool) -> None:
    assert is_out_of_memory(error) is ran_out


def test_memory_of_the_cpu_that_ran_out() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
