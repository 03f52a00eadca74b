"""The dual-head model: what its forward gives, what it trains, and LM heads with a bias, a scale or a soft cap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    CohereConfig,
    GraniteConfig,
    LlamaForCausalLM,
    PhiConfig,
)

from dhrd.config import LossSettings
from dhrd.data.records import IGNORE
from dhrd.errors import ModelError
from dhrd.lm_loss import LogitTransform
from dhrd.model.backbone import Backbone, logit_transform
from helpers.models import (
    VOCAB_SIZE,
    WINDOW,
    gradients_of_step,
    make_backbone,
    make_batch,
    make_causal_lm,
    make_model,
    rows,
)
from helpers.rows import make_tokenizer

_TINY: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
ODD_HEADS = {
    "bias": (PhiConfig(**_TINY, resid_pdrop=0.0, embd_pdrop=0.0), LogitTransform()),
    "scale": (CohereConfig(**_TINY, logit_scale=0.25), LogitTransform(scale=0.25)),
    "divisor": (GraniteConfig(**_TINY, logits_scaling=8.0), LogitTransform(scale=0.125)),
}


@pytest.mark.parametrize("name", ODD_HEADS)
def test_lm_loss_of_families_with_odd_heads_is_the_stock_one(name: str) -> None:
    config, transform = ODD_HEADS[name]
    torch.manual_seed(0)
    causal_lm = AutoModelForCausalLM.from_config(config)
    head = causal_lm.get_output_embeddings()
    with torch.no_grad():
        head.weight.mul_(20)
        if name == "bias":
            head.bias.normal_()
    assert (getattr(head, "bias", None) is not None) == (name == "bias")
    assert logit_transform(config) == transform
    model = make_model(backbone=Backbone(causal_lm, make_tokenizer(), name))
    batch = make_batch([row for row in rows() if row.continuation_ids], model)
    labels = batch.input_ids_BT.masked_fill(~batch.attention_mask_BT, IGNORE)
    with torch.no_grad():
        stock = causal_lm(input_ids=batch.input_ids_BT, attention_mask=batch.attention_mask_BT.long(), labels=labels)
    log, gradients = gradients_of_step(model, [batch])
    assert log["lm_loss"] == pytest.approx(float(stock.loss), rel=1e-5)
    moved = "causal_lm.lm_head.bias" if name == "bias" else "causal_lm.model.embed_tokens.weight"
    assert float(gradients[moved].abs().max()) > 0


def test_a_soft_cap_is_read_from_the_config() -> None:
    config = make_causal_lm("gemma3").config
    assert logit_transform(config) == LogitTransform(soft_cap=5.0)
    assert config.sliding_window == WINDOW


def test_logits_that_are_changed_in_an_unknown_way_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, forward = make_backbone("llama"), LlamaForCausalLM.forward
    make_model(backbone=backbone)

    def doubled(*given: Any, **options: Any) -> Any:
        output = forward(*given, **options)
        output.logits = output.logits * 1.01
        return output

    monkeypatch.setattr(LlamaForCausalLM, "forward", doubled)
    with pytest.raises(ModelError, match="LlamaForCausalLM changes its LM logits in a way unknown to dhrd"):
        make_model(backbone=make_backbone("llama"))


def test_a_head_of_several_layers_is_refused() -> None:
    bert = BertLMHeadModel(BertConfig(**_TINY, is_decoder=True))
    with pytest.raises(ModelError, match="BertLMHeadModel changes its LM logits"):
        make_model(backbone=Backbone(bert, make_tokenizer(), "bert"))


def test_a_backbone_without_a_body_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Llama 4's text model names its body after its parent."""
    backbone = make_backbone("llama")
    monkeypatch.setattr(type(backbone.model), "base_model_prefix", "language_model")
    with pytest.raises(ModelError, match="LlamaForCausalLM is not supported: transformers gives no body"):
        make_model(backbone=backbone)


def test_the_check_leaves_the_backbone_as_it_was() -> None:
    backbone = make_backbone("llama")
    backbone.model.train()
    assert make_model(backbone=backbone).causal_lm.training


def test_inputs_alone_give_logits_alone() -> None:
    model = make_model("llama")
    batch = make_batch(rows(), model)
    output = model(replace(batch, target_BT=None, label_BC=None, row_weight_B=None))
    assert output.losses is None
    assert output.logits_BC.shape == (6, 3)
    assert output.logits_BC.dtype == torch.float32


def test_losses_are_sums_and_counts() -> None:
    model, examples = make_model("llama"), rows()
    batch = make_batch(examples, model)
    output, counts = model(batch), model.loss_counts(batch)
    sequences = [len(e.input_ids) + len(e.continuation_ids) for e in examples if e.continuation_ids]
    assert float(counts["classification"]) == 6
    assert float(counts["reasoning"]) == sum(sequences) - len(sequences)
    expected = torch.nn.functional.cross_entropy(
        output.logits_BC, torch.tensor([e.label[0] for e in examples]), reduction="sum"
    )
    torch.testing.assert_close(output.losses["classification"], expected)


def test_without_reasoning_weight_no_lm_loss_is_computed() -> None:
    model = make_model("llama", loss=LossSettings(reasoning_weight=0))
    assert model(make_batch(rows(), model)).losses.keys() == {"classification"}


@pytest.mark.parametrize("reasoned", [True, False])
def test_a_batch_without_targets_still_touches_every_trained_tensor(reasoned: bool) -> None:
    model = make_model("qwen2")
    examples = rows() if reasoned else [replace(row, continuation_ids=[]) for row in rows()]
    _, gradients = gradients_of_step(model, [make_batch(examples, model)])
    assert gradients.keys() == {name for name, p in model.named_parameters() if p.requires_grad}
    assert (float(gradients["causal_lm.lm_head.weight"].abs().max()) > 0) == reasoned


@pytest.mark.parametrize(
    ("family", "loss", "frozen"),
    [
        ("qwen2", LossSettings(reasoning_weight=0), {"causal_lm.lm_head.weight"}),
        ("llama", LossSettings(reasoning_weight=0), set()),
        ("qwen2", LossSettings(classification_weight=0), {"head.score.weight"}),
        ("qwen2", LossSettings(), set()),
    ],
)
def test_what_gets_no_gradient_is_frozen(family: str, loss: LossSettings, frozen: set[str]) -> None:
    model = make_model(family, loss=loss)
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == frozen


def test_trained_state_goes_back() -> None:
    model, other = make_model("llama", seed=1), make_model("llama", seed=2)
    other.load_trained_state(model.trained_state())
    batch = make_batch(rows(), model)
    assert torch.equal(other.eval()(batch).logits_BC, model.eval()(batch).logits_BC)
    with pytest.raises(ModelError, match="the weights do not fit this model: 1 names differ"):
        other.load_trained_state({n: t for n, t in model.trained_state().items() if n != "head.score.weight"})


def test_the_head_is_as_wide_as_what_the_lm_head_reads() -> None:
    assert make_model("opt").head.score.weight.shape == (3, 8)  # OPT projects 16 down to 8
