"""The model card: an artifact's README.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment

from dhrd._markdown import as_code, fenced
from dhrd._text import escaped
from dhrd.artifact.hub import is_hub_name
from dhrd.artifact.info import ArtifactInfo
from dhrd.config import RunConfig
from dhrd.config.published import masked

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

_ENVIRONMENT = Environment(trim_blocks=True, lstrip_blocks=True)
_ENVIRONMENT.filters |= {
    "code": lambda value: as_code(masked(str(value))),
    "jinja": lambda value: fenced(value, "jinja"),
}
_METRICS = ("accuracy", "macro_f1", "f1a", "em", "log_loss")
_PAGE = _ENVIRONMENT.from_string("""\
# {{ "Reasoning-only student" if info.kind == "causal_lm" else "Text classifier" }}, trained by dhrd

Labels: {% for name in info.labels.names %}{{ name|code }}{{ ", " if not loop.last }}{% endfor %}{{ " (one of each task, `task/label`)" if info.labels.tasks else " (several at once)" if info.labels.multi_label }}.
Backbone: {{ training.backbone|code }}. Method: {{ method }} (Dual-Head Reasoning Distillation, arXiv 2509.21487).

## Data

{{ training.num_train_examples }} training rows from {{ (config.data.train or "given rows")|code }}, {{ training.num_with_rationale }} with a rationale; {{ training.steps }} updates, seed {{ training.seed }}.
{% if metrics %}

## Results

{{ metrics.num_examples }} rows of {{ (config.data.validation or "given rows")|code }}{{ "; the weights, or a temperature, were chosen on these rows" if metrics.selected_on }}.

| metric | value | 95 % interval |
|---|---|---|
{% for number in shown %}
| {{ number.name }} | {{ "%.3f"|format(number.value) }} | {% if number.interval_95 %}{{ "%.3f"|format(number.interval_95[0]) }} to {{ "%.3f"|format(number.interval_95[1]) }}{% endif %} |
{% endfor %}
{% endif %}

## Input

The classifier reads this Jinja2 template{{ ", wrapped as a user turn in the chat template" if info.chat }}, at most {{ info.max_input_tokens }} tokens:

{{ info.input_template|jinja }}

## Use

{% if info.kind == "sequence_classifier" %}
```python
from transformers import pipeline
classifier = pipeline("text-classification", model="DIR", truncation=True)  # of text in the template's form already
```

```sh
vllm serve DIR --runner pooling
```

{% endif %}
{% if info.kind == "causal_lm" %}
```python
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("DIR")
```
{% else %}
```python
from dhrd import Classifier
classifier = Classifier.from_pretrained("DIR")               # applies the template to columns
classifier.predict([{{ example }}])
```
{% endif %}
""")


def model_card(info: ArtifactInfo, config: RunConfig) -> str:
    """The text of the card: what the model is, what it was trained on, how good it is, and how to load it.

    The header's `model-index` gives the hub the metrics, with 95 % intervals if there are any, and the backbone and the
    data set if they are from the hub.
    """
    from huggingface_hub import ModelCard

    metrics = info.training.get("metrics") or {}
    method = "pooled baseline" if not config.loss.reasoning_weight else "pooled head and reasoning head"
    page = _PAGE.render(
        info=info,
        config=config,
        training=info.training,
        metrics=metrics,
        shown=list(_numbers(metrics)),
        method="reasoning head alone" if info.kind == "causal_lm" else method,
        example='"Some text."' if info.input_template.strip() == "{{ input_text }}" else "{column: value, …}",
    )
    return str(ModelCard(f"---\n{_card_data(config, metrics).to_yaml()}\n---\n\n{page}"))


@dataclass(frozen=True, slots=True)
class _Number:
    """A metric on the card; named `task/metric` if there are several tasks."""

    name: str
    value: float
    num_examples: int
    interval_95: Sequence[float] | None


def _numbers(metrics: Mapping[str, Any], task: str = "") -> Iterator[_Number]:
    if "tasks" in metrics:
        for name, own in metrics["tasks"].items():
            yield from _numbers(own, f"{name}/")
        return
    for name in _METRICS:
        if name in metrics:
            interval = metrics.get("interval_95", {}).get(name)
            yield _Number(task + name, metrics[name], metrics["num_examples"], interval)


def _card_data(config: RunConfig, metrics: Mapping[str, Any]) -> ModelCardData:
    from huggingface_hub import EvalResult, ModelCardData

    rows = masked(escaped(str(config.data.validation or "given rows")))
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=rows,
            dataset_name=rows,
            metric_type=number.name,
            metric_value=number.value,
            metric_args={"num_examples": number.num_examples}
            | ({"interval_95": list(number.interval_95)} if number.interval_95 else {}),
        )
        for number in _numbers(metrics)
    ]
    backbone, source = config.model.name_or_path, (config.data.train or "").partition(":")
    return ModelCardData(
        base_model=backbone if is_hub_name(backbone) else None,
        datasets=[source[2].partition(":")[0]] if source[0] == "hub" and source[2] else None,
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=["dhrd", "dual-head-reasoning-distillation"],
        model_name=escaped(Path(config.output_dir).name),
        eval_results=results or None,
    )
