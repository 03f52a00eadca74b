"""What a benchmark is asked for: refused where it cannot be, before anything is loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dhrd.benchmark.settings import PEERS, WAYS, Settings
from dhrd.errors import ConfigError
from dhrd.export.runtimes import RUNTIMES


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    known = ", ".join((*PEERS, *WAYS))
    with pytest.raises(ConfigError, match=f"^`against=guess`: unknown; give some of {known}$"):
        Settings(against=("loop", "guess"))


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_needs_what_was_exported_for_it(name: str) -> None:
    assert name in PEERS
    other = {other: Path("other") for other in RUNTIMES if other != name}
    with pytest.raises(ConfigError, match=f"`against={name}`: give `{name}` DIR, .* or `against={name}=DIR`"):
        Settings(against=(name,), exports=other)
    assert Settings(against=(name,), exports={name: Path("here")}).against == (name,)


@pytest.mark.parametrize("name", ["vllm", "cot_vllm"])
def test_vllm_must_be_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match=f"^`against={name}`: this needs vLLM: pip install vllm"):
        Settings(against=(name,))
