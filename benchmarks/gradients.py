"""Where the two losses pull: the norms of their gradients in the backbone, and the angle between them.

    python benchmarks/gradients.py --config configs/esnli.yaml [--updates 0,15,30] [--set section.key=value]

Both gradients are taken on the same 16 training rows, before training and after some updates of DHRD. AdamW divides by
the size of the gradient, and clipping acts on the sum: so with both weights 1 the loss with the larger gradient decides
most of the direction of an update. Prints a table, and one JSON line last.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math

import torch

from dhrd.config import load_config
from dhrd.data.collate import collate
from dhrd.data.rows import load_rows
from dhrd.model.backbone import load_backbone
from dhrd.model.dual_head import DualHeadModel
from dhrd.training.build import build
from dhrd.training.step import train_step

NUM_ROWS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--updates", default="0,15,30", help="Measure after so many updates.")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.set)
    rows, backbone = load_rows(config), load_backbone(config.model)
    parts = build(config, rows, backbone)
    model, updates = parts.model, parts.updates
    batch = collate(
        parts.data.train.examples[:NUM_ROWS],
        pad_token_id=model.tokenizer.pad_token_id,
        num_labels=len(rows.labels),
        lm_targets=config.loss.lm_targets,
    ).to(parts.accelerator.device)
    order = itertools.chain.from_iterable(updates.epoch(epoch) for epoch in itertools.count())
    found, done = [], 0
    for wanted in map(int, arguments.updates.split(",")):
        while done < wanted:
            done += 1
            train_step(parts.state, next(order), done)
        found.append({"updates": done, **measure(model, batch)})
        print("  ".join(f"{name} {value:.4g}" for name, value in found[-1].items()), flush=True)
    print(json.dumps(found))


def measure(model: DualHeadModel, batch: object) -> dict[str, float]:
    """Losses, gradient norms in the backbone without its embeddings, and the cosine between the two gradients."""
    model.eval()  # no dropout: both gradients are of the same function
    inside = [p for name, p in model.causal_lm.named_parameters() if "layers" in name or ".h." in name]
    sums, counts = model(batch).losses, model.loss_counts(batch)
    losses = [sums[name] / counts[name] for name in ("classification", "reasoning")]
    label, lm = (torch.autograd.grad(loss, inside, retain_graph=True) for loss in losses)
    dot = sum(float((a * b).sum()) for a, b in zip(label, lm, strict=True))
    label_norm, lm_norm = (math.sqrt(sum(float(g.square().sum()) for g in grads)) for grads in (label, lm))
    return {
        "classification_loss": losses[0].item(),
        "lm_loss": losses[1].item(),
        "classification_grad_norm": label_norm,
        "lm_grad_norm": lm_norm,
        "cosine": dot / (label_norm * lm_norm),
    }


if __name__ == "__main__":
    main()
