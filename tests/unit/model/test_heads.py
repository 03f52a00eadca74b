"""The classification head."""

from __future__ import annotations

import pytest
import torch

from dhrd.model.heads import ClassificationHead


def test_a_linear_head_is_one_matrix_named_score() -> None:
    assert {name: tuple(p.shape) for name, p in ClassificationHead(8, 3).named_parameters()} == {"score.weight": (3, 8)}


def test_an_mlp_head_is_the_papers_two_layers() -> None:
    head = ClassificationHead(8, 3, kind="mlp", dropout=0.0)
    assert set(dict(head.named_parameters())) == {"dense.weight", "dense.bias", "score.weight"}
    pooled = torch.randn(4, 8)
    assert head.dense is not None
    hidden = torch.nn.functional.gelu(pooled @ head.dense.weight.T + head.dense.bias)
    torch.testing.assert_close(head(pooled), hidden @ head.score.weight.T)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_seed_alone_decides_the_weights(kind: str) -> None:
    heads = []
    for seed, noise in ((3, 0), (3, 1), (4, 0)):
        torch.manual_seed(noise)
        heads.append(ClassificationHead(8, 3, kind=kind, seed=seed).score.weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_it_is_created_in_fp32_whatever_the_default() -> None:
    head = ClassificationHead(8, 3)
    assert head.score.weight.dtype == torch.float32
    assert 0.005 < float(ClassificationHead(64, 64).score.weight.std()) < 0.05


def test_bf16_states_are_classified_in_fp32() -> None:
    head, pooled = ClassificationHead(8, 3, dropout=0.0), torch.randn(4, 8).bfloat16()
    expected = pooled.float() @ head.score.weight.T
    assert torch.equal(head(pooled), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(head(pooled), expected)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_dropout_acts_in_training_alone(kind: str) -> None:
    head, pooled = ClassificationHead(64, 3, kind=kind, dropout=0.5), torch.randn(4, 64)
    torch.manual_seed(0)
    assert not torch.equal(head(pooled), head(pooled))
    head.eval()
    assert torch.equal(head(pooled), head(pooled))
