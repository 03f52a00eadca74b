"""What the server answers: vLLM's `/classify`, TEI's `/predict`, explanations, and what is told of the server."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import JsonValue

from dhrd._versions import library_versions
from dhrd.data.inputs import EncodedInput
from dhrd.errors import DataError
from dhrd.inference.classifier import Classifier
from dhrd.inference.prediction import Prediction
from dhrd.serving.dispatcher import Dispatcher
from dhrd.serving.explainer import Explainer
from dhrd.serving.guard import Gate
from dhrd.serving.limits import Limits, Refusal
from dhrd.serving.monitoring import ServerMetrics
from dhrd.serving.page import page_headers, page_text
from dhrd.serving.schemas import (
    ClassifiedRow,
    ClassifyRequest,
    ClassifyResponse,
    ExplainedRow,
    ExplainRequest,
    ExplainResponse,
    Info,
    LabelScore,
    PredictRequest,
    ServedLimits,
    ServedTask,
    Status,
    Usage,
)

if TYPE_CHECKING:
    from starlette.responses import Response

Given = str | dict[str, JsonValue]
"""One row as a client sends it."""


class Service:
    """The server's answers.

    Args:
        classifier: Ready to answer.
        name: Of the model, as clients name it.
        limits: What is taken on.
        metrics: The server's counters.
        gate: Whether new requests are taken.
    """

    def __init__(self, classifier: Classifier, name: str, limits: Limits, metrics: ServerMetrics, gate: Gate) -> None:
        self.classifier, self.name, self.limits, self.metrics, self.gate = classifier, name, limits, metrics, gate
        self.dispatcher = Dispatcher(classifier, limits, metrics)
        self.explainer = Explainer(classifier, limits)

    def close(self) -> None:
        """Answer what waits, then end."""
        self.dispatcher.close()
        self.explainer.close()

    async def classify(self, body: ClassifyRequest) -> ClassifyResponse:
        """Labels and probabilities, as vLLM's server gives them."""
        self._check_name(body.model)
        rows = body.input if isinstance(body.input, list) else [body.input]
        inputs, predictions = await self._classified(rows)
        num_tokens = sum(len(item.input_ids) for item in inputs)
        return ClassifyResponse(
            id=f"classify-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=self.name,
            data=[_classified_row(i, *pair) for i, pair in enumerate(zip(inputs, predictions, strict=True))],
            usage=Usage(prompt_tokens=num_tokens, total_tokens=num_tokens),
        )

    async def predict(self, body: PredictRequest) -> list[LabelScore] | list[list[LabelScore]]:
        """Probabilities of all labels, the highest first, as text-embeddings-inference gives them."""
        if body.raw_scores:
            message = "scores are probabilities here, logits are not given; send false"
            raise Refusal(422, "invalid_request", message, param="raw_scores")
        is_batch = isinstance(body.inputs, list) and not isinstance(body.inputs[0], str)
        rows = _rows_of_inputs(body.inputs)
        inputs, predictions = await self._classified(rows, param="inputs")
        if body.truncate is False and any(item.was_cut for item in inputs):
            first = next(i for i, item in enumerate(inputs) if item.was_cut)
            message = (
                f"row {first} is over {self.classifier.info.max_input_tokens} tokens; shorten it, or send truncate"
            )
            raise Refusal(413, "too_many_tokens", message, param="inputs")
        scores = [_scores(prediction) for prediction in predictions]
        return scores if is_batch else scores[0]

    async def explain(self, body: ExplainRequest) -> ExplainResponse:
        """What the reasoning head writes about rows: an illustration, not the cause of the label. Slow."""
        rows = body.input if isinstance(body.input, list) else [body.input]
        try:
            explanations = await self.explainer.explain(rows, body.max_new_tokens)
        except DataError as error:
            raise Refusal(422, "invalid_row", str(error), param="input") from error
        self.metrics.rows_explained.inc(len(rows))
        data = [
            ExplainedRow(index=i, rationale=one.rationale, answer=one.answer, label=one.label, note=one.note)
            for i, one in enumerate(explanations)
        ]
        return ExplainResponse(model=self.name, data=data)

    async def health(self) -> Status:
        """The process is there, whatever it is busy with."""
        return Status()

    async def ready(self) -> Status:
        """New requests are taken."""
        if self.gate.is_draining or not self.dispatcher.is_alive:
            raise Refusal(503, "not_ready", "the server takes no new requests; send them to another", retry_after_s=5)
        return Status()

    async def info(self) -> Info:
        """What is served, and within which limits."""
        info, classifier = self.classifier.info, self.classifier
        return Info(
            model=self.name,
            labels=list(info.labels.names),
            tasks=[
                ServedTask(name=task.name, labels=list(task.labels.names), multi_label=task.labels.multi_label)
                for task in info.labels.slices
                if task.name
            ],
            multi_label=info.labels.multi_label,
            columns=sorted(classifier.encoder.template.variables),
            input_template=info.input_template,
            max_input_tokens=info.max_input_tokens,
            calibration=dict(info.calibration),
            decision=info.model_dump(mode="json")["decision"],
            explains=self.explainer.is_offered,
            device=str(classifier.device),
            dtype=str(classifier.dtype).removeprefix("torch."),
            version=library_versions()["dhrd"],
            limits=ServedLimits(**asdict(self.limits)),
        )

    async def prometheus(self) -> Response:
        """Counters for Prometheus."""
        from starlette.responses import Response

        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def page(self) -> Response:
        """The page for people."""
        from starlette.responses import HTMLResponse

        return HTMLResponse(page_text(), headers=page_headers())

    def _check_name(self, name: str | None) -> None:
        if name not in (None, self.name):
            raise Refusal(404, "unknown_model", f"the model here is {self.name}; name it, or none", param="model")

    async def _classified(
        self, rows: Sequence[Given], param: str = "input"
    ) -> tuple[list[EncodedInput], list[Prediction]]:
        if len(rows) > self.limits.max_rows:
            message = f"{len(rows)} rows; send {self.limits.max_rows} or fewer at once"
            raise Refusal(413, "too_many_rows", message, param=param)
        try:
            inputs, predictions = await self.dispatcher.classify(rows)
        except (DataError, RecursionError) as error:
            message = str(error) if isinstance(error, DataError) else "a value is nested too deep; send plain columns"
            raise Refusal(422, "invalid_row", message, param=param) from error
        self.metrics.rows_cut.inc(sum(item.was_cut for item in inputs))
        self.metrics.rows_abstained.inc(sum(prediction.abstained for prediction in predictions))
        return inputs, predictions


def _classified_row(index: int, item: EncodedInput, prediction: Prediction) -> ClassifiedRow:
    probs = list(prediction.probabilities.values())
    return ClassifiedRow(
        index=index,
        label=prediction.label,
        probs=probs,
        num_classes=len(probs),
        abstained=prediction.abstained,
        label_set=None if prediction.label_set is None else list(prediction.label_set),
        truncated=item.was_cut,
    )


def _scores(prediction: Prediction) -> list[LabelScore]:
    ordered = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])
    return [LabelScore(score=probability, label=name) for name, probability in ordered]


def _rows_of_inputs(inputs: Given | Sequence[Given | list[str]]) -> list[Given]:
    """The rows of TEI's `inputs`.

    Raises:
        Refusal: There are pairs of texts.
    """
    if isinstance(inputs, str | dict):
        return [inputs]
    texts = [item for item in inputs if isinstance(item, str)]
    if len(texts) == 1 == len(inputs):
        return [texts[0]]
    rows: list[Given] = []
    for index, item in enumerate(inputs):
        if isinstance(item, dict):
            rows.append(item)
        elif isinstance(item, list) and len(item) == 1:
            rows.append(item[0])
        else:
            message = (
                f"row {index}: several texts in a list are one pair, which this classifier does not read; "
                'send rows as [["first"], ["second"]], or objects of its columns'
            )
            raise Refusal(422, "invalid_request", message, param=f"inputs.{index}")
    return rows
