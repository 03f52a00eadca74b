"""The endpoints: vLLM's `/classify`, TEI's `/predict`, explanations, and the server's status."""

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
from dhrd.model.precision import dtype_name
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
"""One row as sent by a client."""


class Service:
    """The handlers of the endpoints.

    Args:
        classifier: The loaded classifier.
        name: The model's name for clients.
        limits: Limits on requests.
        metrics: The server's metrics.
        gate: The state of the server's requests.
    """

    def __init__(self, classifier: Classifier, name: str, limits: Limits, metrics: ServerMetrics, gate: Gate) -> None:
        self.classifier, self.name, self.limits, self.metrics, self.gate = classifier, name, limits, metrics, gate
        self.dispatcher = Dispatcher(classifier, limits, metrics)
        self.explainer = Explainer(classifier, limits)

    def close(self) -> None:
        """Answer all queued rows, then stop."""
        self.dispatcher.close()
        self.explainer.close()

    async def classify(self, body: ClassifyRequest) -> ClassifyResponse:
        """Labels and probabilities, in the format of vLLM's server."""
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
        """Probabilities of all labels, highest first, in the format of text-embeddings-inference."""
        if body.raw_scores:
            message = "scores are always probabilities, not logits; send false"
            raise Refusal(422, "invalid_request", message, param="raw_scores")
        is_batch = isinstance(body.inputs, list) and not isinstance(body.inputs[0], str)
        rows = _rows_of_inputs(body.inputs)
        inputs, predictions = await self._classified(rows, param="inputs")
        if body.truncate is False and any(item.was_cut for item in inputs):
            first = next(i for i, item in enumerate(inputs) if item.was_cut)
            message = (
                f"row {first} exceeds {self.classifier.info.max_input_tokens} tokens; shorten it, or send truncate"
            )
            raise Refusal(413, "too_many_tokens", message, param="inputs")
        scores = [_scores(prediction) for prediction in predictions]
        return scores if is_batch else scores[0]

    async def explain(self, body: ExplainRequest) -> ExplainResponse:
        """Rationales written by the reasoning head: an illustration, not the cause of the label. Slow."""
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
        """Liveness: the process is running."""
        return Status()

    async def ready(self) -> Status:
        """Readiness: new requests are accepted."""
        if self.gate.is_draining or not self.dispatcher.is_alive:
            raise Refusal(503, "not_ready", "the server accepts no new requests; try another one", retry_after_s=5)
        return Status()

    async def info(self) -> Info:
        """The model and the server's limits."""
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
            dtype=dtype_name(classifier.dtype),
            version=library_versions()["dhrd"],
            limits=ServedLimits(**asdict(self.limits)),
        )

    async def prometheus(self) -> Response:
        """Metrics for Prometheus."""
        from starlette.responses import Response

        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def page(self) -> Response:
        """The web page."""
        from starlette.responses import HTMLResponse

        return HTMLResponse(page_text(), headers=page_headers())

    def _check_name(self, name: str | None) -> None:
        if name not in (None, self.name):
            raise Refusal(
                404, "unknown_model", f"the served model is {self.name}; send that name or none", param="model"
            )

    async def _classified(
        self, rows: Sequence[Given], param: str = "input"
    ) -> tuple[list[EncodedInput], list[Prediction]]:
        try:
            inputs, predictions = await self.dispatcher.classify(rows)
        except (DataError, RecursionError) as error:
            message = str(error) if isinstance(error, DataError) else "a value is nested too deeply; send plain columns"
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
        Refusal: The inputs include pairs of texts.
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
                f"row {index}: a list of several texts is a pair, which this classifier does not accept; "
                'send rows as [["first"], ["second"]], or objects with its columns'
            )
            raise Refusal(422, "invalid_request", message, param=f"inputs.{index}")
    return rows
