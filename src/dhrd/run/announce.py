"""The lines logged before a run's first update that say what it will do."""

from __future__ import annotations

from collections.abc import Iterator

from dhrd._device import describe_device
from dhrd._text import shown
from dhrd.data.label_names import spelled
from dhrd.data.label_sets import count_rows
from dhrd.data.label_space import of_task
from dhrd.training.build import Parts


def announced(parts: Parts) -> Iterator[str]:
    """Lines on labels and their row counts, updates and tokens, device, precision and the number of trained weights."""
    rows, data, training = parts.rows, parts.data, parts.config.training
    for task in rows.labels.slices:
        labels = count_rows(of_task(rows.train, task.name, task.columns)).most_common()
        of = f" of {task.name}" if task.name else ""
        yield f"labels{of}: {spelled(f'{shown(name, 40)} {count:,}' for name, count in labels)}"
    num_tokens = sum(len(one.input_ids) + len(one.continuation_ids) for one in data.train.examples)
    each = parts.updates.updates_per_epoch
    yield (
        f"updates: {each * training.num_epochs:,} ({training.num_epochs} epochs of {each:,}); {num_tokens:,} tokens "
        f"per epoch, {data.train.longest:,} in the longest row"
    )
    weights = [(weight.numel(), weight.requires_grad) for weight in parts.model.parameters()]
    trained, total = sum(count for count, is_trained in weights if is_trained), sum(count for count, _ in weights)
    precision, num_processes = parts.accelerator.mixed_precision, parts.accelerator.num_processes
    processes = f", {num_processes} processes" if num_processes > 1 else ""
    yield (
        f"on {describe_device(parts.accelerator.device)}{processes}, {'float32' if precision == 'no' else precision}; "
        f"{trained:,} of {total:,} weights are trained"
    )
