"""The model card: README.md of an artifact."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment

from dhrd._markdown import as_code, fenced
from dhrd.artifact.info import ArtifactInfo
from dhrd.config import RunConfig
from dhrd.config.published import masked

_ENVIRONMENT = Environment(trim_blocks=True, lstrip_blocks=True)
_ENVIRONMENT.filters |= {
    "code": lambda value: as_code(masked(str(value))),
    "jinja": lambda value: fenced(value, "jinja"),
}
_CARD = _ENVIRONMENT.from_string("""\
---
library_name: transformers
pipeline_tag: text-classification
tags: [dhrd, dual-head-reasoning-distillation]
---

# {{ "Reasoning-only student" if info.kind == "causal_lm" else "Text classifier" }}, trained by dhrd

Labels: {% for name in info.labels.names %}{{ name|code }}{{ ", " if not loop.last }}{% endfor %}{{ " (several at once)" if info.labels.multi_label }}.
Backbone: {{ training.backbone|code }}. Method: {{ method }} (Dual-Head Reasoning Distillation, arXiv 2509.21487).

## Data

{{ training.num_train_examples }} training rows from {{ (config.data.train or "given rows")|code }}, {{ training.num_with_rationale }} with a rationale; {{ training.steps }} updates, seed {{ training.seed }}.
{% if metrics %}

## Results

{{ metrics.num_examples }} rows of {{ (config.data.validation or "given rows")|code }}{{ "; the weights were chosen on these rows" if metrics.selected_on }}.

| metric | value | 95 % interval |
|---|---|---|
{% for name in shown %}
| {{ name }} | {{ "%.3f"|format(metrics[name]) }} | {% if name in metrics.interval_95 %}{{ "%.3f"|format(metrics.interval_95[name][0]) }} to {{ "%.3f"|format(metrics.interval_95[name][1]) }}{% endif %} |
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
    """The card's text: what the model is, what it was trained on, how good it is, how to load it."""
    training: dict[str, Any] = dict(info.training)
    metrics = training.get("metrics") or {}
    shown = [name for name in ("accuracy", "macro_f1", "f1a", "em", "log_loss") if name in metrics]
    method = "pooled baseline" if not config.loss.reasoning_weight else "pooled head and reasoning head"
    plain = info.input_template.strip() == "{{ input_text }}"
    return _CARD.render(
        info=info,
        config=config,
        training=training,
        metrics=metrics,
        shown=shown,
        method="reasoning head alone" if info.kind == "causal_lm" else method,
        example='"Some text."' if plain else "{column: value, …}",
    )
