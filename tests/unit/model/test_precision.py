"""The dtype that `auto` takes is measured: once a process, at the backbone's own shapes."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, LlamaConfig

from dhrd.errors import ConfigError
from dhrd.model import precision
from dhrd.model.precision import ProductRates, choose_dtype, fast_dtype, product_rates, shapes_of

CPU = torch.device("cpu")
SHAPES = ((24, 24), (24, 40), (40, 24))


def rates(float32: float, bfloat16: float | None) -> ProductRates:
    return ProductRates(shapes=SHAPES, num_tokens=512, num_threads=1, float32=float32, bfloat16=bfloat16)


def test_both_dtypes_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_SECONDS", 0.0)
    found = product_rates(SHAPES)
    assert found.float32 > 0
    assert (found.bfloat16 is None) == (not precision._has_bf16())
    assert (found.shapes, found.num_tokens, found.num_threads) == (SHAPES, 512, torch.get_num_threads())
    monkeypatch.setattr(precision, "_best_seconds", lambda *_: pytest.fail("measured again"))
    assert product_rates(SHAPES) is found


def test_a_large_backbone_is_measured_on_fewer_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_best_seconds", lambda shapes, tokens, dtypes: dict.fromkeys(dtypes, 1.0))
    found = product_rates(((4096, 4096), (4096, 16384)))
    assert found.num_tokens == int(4e9 / (2 * 4096 * 16384))
    assert found.float32 == pytest.approx(2e-9 * found.num_tokens * 4096 * (4096 + 16384), abs=0.06)


@pytest.mark.parametrize(
    ("measured", "dtype"),
    [
        (rates(100, 200), torch.bfloat16),
        (rates(100, 115), torch.float32),  # not worth the rounding
        (rates(300, 155), torch.float32),
        (rates(100, None), torch.float32),
    ],
)
def test_bf16_is_taken_where_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, measured: ProductRates, dtype: torch.dtype
) -> None:
    monkeypatch.setattr(precision, "product_rates", lambda shapes: measured)
    assert fast_dtype(CPU) == choose_dtype("auto", CPU) == dtype


def test_a_gpu_that_emulates_bf16_keeps_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_it in (True, False):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True, has=has_it: including_emulation or has
        )
        assert (fast_dtype(torch.device("cuda")) == torch.bfloat16) is has_it


def test_the_shapes_are_the_backbones_own() -> None:
    llama = LlamaConfig(hidden_size=24, intermediate_size=40, num_attention_heads=2)
    assert shapes_of(llama) == SHAPES
    assert shapes_of(GPT2Config(n_embd=8)) == ((8, 8), (8, 32), (32, 8))
    assert len(shapes_of(None)) == 3


def test_a_dtype_by_name() -> None:
    assert choose_dtype("bfloat16", CPU) == torch.bfloat16
    assert choose_dtype(None, CPU) is None
    with pytest.raises(ConfigError, match=r"`dtype` int8: unknown; give auto, float32"):
        choose_dtype("int8", CPU)
