"""Attention that holds its scores: against torch's kernel and fp32, and where it leaves the work to that kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from dhrd.model import attention
from dhrd.model.attention import HELD, held_attention, hold_scores
from dhrd.model.masks import why_no_masks

B, H, G, T, E = 3, 6, 2, 11, 8
LENGTHS = torch.tensor([11, 4, 7])
SEEN = torch.ones(T, T, dtype=torch.bool).tril() & (torch.arange(T) < LENGTHS[:, None])[:, None, None]
MASKS = {
    "none": None,
    "seen": SEEN,
    "one for all rows": SEEN[:1],
    "added": torch.zeros(SEEN.shape).masked_fill(~SEEN, torch.finfo(torch.float32).min),
}


class Layer(nn.Module):
    """What attention asks of a layer."""

    is_causal = True

    def __init__(self, num_key_heads: int) -> None:
        super().__init__()
        self.num_key_value_groups = H // num_key_heads


def given(num_key_heads: int, dtype: torch.dtype = torch.bfloat16) -> tuple[Tensor, ...]:
    """Query, key, value; the same numbers in each dtype."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(B, heads, T, E, generator=generator) for heads in (H, num_key_heads, num_key_heads)]
    return tuple((1.5 * x).bfloat16().to(dtype).requires_grad_() for x in drawn)


def run(attend: object, inputs: tuple[Tensor, ...], mask: Tensor | None, **options: object) -> list[Tensor]:
    """Output and gradients of query, key and value."""
    layer = Layer(inputs[1].shape[1])
    mask = mask.to(inputs[0].dtype) if mask is not None and mask.dtype != torch.bool else mask
    output, _ = attend(layer, *inputs, mask, **options)  # type: ignore[operator]
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    return [output.detach(), *torch.autograd.grad(output, inputs, grad)]


def distance(found: Tensor, exact: Tensor) -> float:
    return float((found.float() - exact).norm() / exact.norm())


@pytest.mark.parametrize("scaling", [None, 0.2])
@pytest.mark.parametrize("num_key_heads", [G, H])
@pytest.mark.parametrize("mask", MASKS)
def test_as_near_to_fp32_as_the_fused_kernel(mask: str, num_key_heads: int, scaling: float | None) -> None:
    exact = run(sdpa_attention_forward, given(num_key_heads, torch.float32), MASKS[mask], scaling=scaling)
    fused = run(sdpa_attention_forward, given(num_key_heads), MASKS[mask], scaling=scaling)
    held = run(held_attention, given(num_key_heads), MASKS[mask], scaling=scaling)
    assert not torch.equal(held[1], fused[1])  # another computation indeed
    for ours, theirs, truth in zip(held, fused, exact, strict=True):
        assert ours.dtype == torch.bfloat16
        assert ours.shape == theirs.shape
        assert distance(ours, truth) < max(0.006, 1.5 * distance(theirs, truth))


def test_under_autocast_the_products_are_bf16_and_gradients_are_the_weights_own() -> None:
    inputs = given(G, torch.float32)
    exact = run(sdpa_attention_forward, inputs, SEEN)
    with torch.autocast("cpu", torch.bfloat16):
        found = run(held_attention, inputs, SEEN)
    assert [x.dtype for x in found] == [torch.bfloat16, *[torch.float32] * 3]
    assert all(0 < distance(ours, truth) < 0.006 for ours, truth in zip(found, exact, strict=True))


def test_a_token_that_sees_nothing_harms_nobody() -> None:
    blind = SEEN.clone()
    blind[1, :, 2] = False
    found, expected = run(held_attention, given(G), blind), run(held_attention, given(G), SEEN)
    assert all(bool(x.isfinite().all()) for x in found)
    torch.testing.assert_close(found[0][[0, 2]], expected[0][[0, 2]])


CASES = {"fp32": torch.float32, "dropout": torch.bfloat16, "no gradient": torch.bfloat16, "long": torch.bfloat16}


@pytest.mark.parametrize("case", CASES)
def test_elsewhere_it_is_the_fused_kernel(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if case == "long":
        monkeypatch.setattr(attention, "_MOST_SCORES", B * H * T * T - 1)
    results = []
    for attend in (held_attention, sdpa_attention_forward):
        torch.manual_seed(0)
        with torch.set_grad_enabled(case != "no gradient"):
            results.append(attend(Layer(G), *given(G, CASES[case]), SEEN, dropout=0.5 * (case == "dropout"))[0])
    assert torch.equal(*results)


def test_a_backbone_that_trains_holds_its_scores_and_its_files_do_not_say_so(
    tiny_backbone: Path, tmp_path: Path
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_backbone, dtype=torch.float32)
    ids = torch.randint(0, 50, (2, 9), generator=torch.Generator().manual_seed(0))

    def gradient() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=ids).logits
        return torch.autograd.grad(logits.float().square().mean(), model.model.layers[0].self_attn.q_proj.weight)[0]

    with torch.no_grad():
        before, fused = model(input_ids=ids).logits, None
    fused = gradient()
    assert hold_scores(model)
    assert why_no_masks(model.config) == ""
    held = gradient()
    assert not torch.equal(held, fused)
    assert distance(held, fused) < 0.05
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, before)
    model.save_pretrained(tmp_path)
    assert HELD not in json.dumps(json.loads((tmp_path / "config.json").read_text()))


def test_an_attention_that_was_chosen_stays(tiny_backbone: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_backbone, attn_implementation="eager")
    assert not hold_scores(model)
    assert model.config._attn_implementation == "eager"
