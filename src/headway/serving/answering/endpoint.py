"""The answer to one message or row: by the model, else by the remote stage, else held for people."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from headway.core.answering import confidences
from headway.core.errors import DataError, HeadwayError
from headway.evaluation.settings.answer import AnswerSection
from headway.serving.answering.later_answers import find_later_answer
from headway.serving.answering.remote import NoRemoteAnswer, RemoteAnswers, RemoteInput, read_key
from headway.serving.answering.spend import DailySpend, SharedSpend, Spend
from headway.serving.batching.answers import RowAnswers
from headway.serving.batching.data_plane import DataPlane
from headway.serving.batching.validation import Violation
from headway.serving.http.connection import Request
from headway.serving.loading import LoadedModel
from headway.serving.protocol.admission import admit_object
from headway.serving.protocol.errors import encode, error_body, request_error
from headway.serving.protocol.schemas import AnswerRequest, AnswerResponse, LaterAnswer
from headway.serving.telemetry.metrics import Metrics
from headway.storage import traffic
from headway.storage.traffic import MODEL, PEOPLE, REMOTE

if TYPE_CHECKING:
    from headway.core.contracts import Floats, State
    from headway.storage._shared_logs import SharedLogs

MAX_SEARCHES = 64
"""Requests of a worker that wait for the answer to an earlier message."""
_CLOSE_S = 5.0
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_HINT = '{"text": "where is my parcel", "key": "a-1"}'
_read_request = msgspec.json.Decoder(AnswerRequest).decode
_log = logging.getLogger(__name__)


class AnswerStages:
    """Answers of the stages behind the model, and what a caller gets if none of them answers.

    Parameters
    ----------
    settings
        The section `[answer]`.
    state
        Folder of the labels, where the remote stage's answers are kept.
    remote
        The remote stage; None if it has no address.
    metrics
        Counts results of the remote stage, and responses.
    open_logs
        Opens log and labels that machines share; returns None if they are in the state folder.
    """

    def __init__(
        self,
        settings: AnswerSection,
        state: Path,
        *,
        remote: RemoteAnswers | None = None,
        metrics: Metrics | None = None,
        open_logs: Callable[[], SharedLogs | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._state = state
        self._remote = remote
        self._metrics = metrics or Metrics()
        self._open_logs = open_logs
        self._n_searches = 0
        self._searching = asyncio.Lock()
        self._tasks = set[asyncio.Task[None]]()
        self._labels = defaultdict[str, list[traffic.Label]](list)  # that wait to be stored, by model
        self._storing = asyncio.Lock()

    def answer(self, call: AnswerCall, model: LoadedModel, answers: RowAnswers) -> None:
        """Answer a call whose row the model hands on, now or later; on the loop."""
        stages = model.selective.plan.stages if model.selective else ()
        if REMOTE not in stages or self._remote is None:
            call.reply(model, self._absent(answers, stages))
            return
        self._begin(self._ask(self._remote, call, model, answers, stages))

    def find(self, request: Request, model: LoadedModel, key: str, *, api_key: str) -> None:
        """Reply with the answer to an earlier message of a caller, on the loop; one key is searched at a time."""
        if not model.answers:
            request.reply(400, error_body(_no_classes(model)))
        elif self._n_searches >= MAX_SEARCHES:
            request.reply(429, error_body("many keys are searched already"), extra=b"\r\nRetry-After: 1")
        else:
            self._n_searches += 1
            self._begin(self._find(request, model, key, api_key))

    def count_response(self, model: LoadedModel, response: AnswerResponse) -> None:
        """Count a response of the route."""
        self._metrics.count_response(model.name, response.answered_by, response.status)

    async def close(self) -> None:
        """Wait for answers that are stored after they were sent, and close the connections to the remote stage."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CLOSE_S)
        if self._remote is not None:
            self._remote.close()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _find(self, request: Request, model: LoadedModel, key: str, api_key: str) -> None:
        try:
            async with self._searching:
                found = await asyncio.to_thread(self._search, model, key, api_key)
        except Exception as error:  # noqa: BLE001 - a defect must not leave the caller without an answer
            failure = request_error(error)
            _log.error("an answer was not found: %s", error, exc_info=failure.status == 500)
            request.reply(failure.status, error_body(failure))
        else:
            body = error_body(f"no message of '{model.name}' has this key") if found is None else encode(found)
            request.reply(404 if found is None else 200, body)
        finally:
            self._n_searches -= 1

    def _search(self, model: LoadedModel, key: str, api_key: str) -> LaterAnswer | None:
        stage = self._settings.remote.identity
        return find_later_answer(self._state, model, key, stage=stage, api_key=api_key, logs=self._open_logs())

    async def _ask(
        self,
        remote: RemoteAnswers,
        call: AnswerCall,
        model: LoadedModel,
        answers: RowAnswers,
        stages: Sequence[str],
    ) -> None:
        """Ask the remote stage, keep its answer, and reply."""
        assert model.selective
        try:
            message = RemoteInput(call.text, call.values, call.key)
            answer = await remote.ask(message, model.selective.classes, reject=model.selective.plan.reject)
        except NoRemoteAnswer as error:
            self._metrics.count_remote(error.code)
            call.reply(model, self._absent(answers, stages, remote=error.code))
            return
        except Exception as error:  # noqa: BLE001 - a defect must not leave the caller without an answer
            _log.exception("the remote stage was not asked")
            call.fail(error)
            return
        self._metrics.count_remote("answered")
        label = traffic.Label(call.key, float(model.selective.classes.index(answer.class_name)))
        is_covered = model.selective.covers_remote(
            remote.identity, answer.class_name, certified_for=answer.certified_for
        )
        response = AnswerResponse(
            answer=answer.class_name,
            answered_by=REMOTE,
            reason=answers.reason[0],
            status="answered" if is_covered else "uncertified",
            confidence=_confidence(answers),
        )
        if remote.keeps_answers:
            call.reply(model, response)
            if is_covered:  # a label does not say whether it was
                await self._store(model.name, label)
        else:
            await self._store(model.name, label)
            call.reply(model, response)

    async def _store(self, name: str, label: traffic.Label) -> None:
        """Store an answer, together with all that came while others were stored: one segment has many."""
        self._labels[name].append(label)
        async with self._storing:
            labels = self._labels.pop(name, [])
            try:
                await asyncio.to_thread(traffic.save_labels, self._state, name, labels, who=REMOTE)
            except HeadwayError as error:
                _log.error("%d answers of the remote stage were not stored: %s", len(labels), error)

    def _absent(self, answers: RowAnswers, stages: Sequence[str], *, remote: str = "") -> AnswerResponse:
        """Return what a caller gets while no stage has answered."""
        form = self._settings.absent
        return AnswerResponse(
            answer=answers.best[0] if form == "uncertified" else "",
            answered_by=PEOPLE if PEOPLE in stages else "",
            reason=answers.reason[0],
            status=_STATUS[form],
            reply=self._settings.apology if form == "apologise" else msgspec.UNSET,
            remote=remote or msgspec.UNSET,
            confidence=_confidence(answers),
        )


def open_stages(
    settings: AnswerSection,
    state: Path,
    metrics: Metrics,
    *,
    shared: State | None = None,
    name: str = "",
    open_logs: Callable[[], SharedLogs | None] = lambda: None,
) -> AnswerStages:
    """Return the stages of a server; raises ConfigError if the remote stage cannot be asked as it is declared.

    `shared` is the state of machines that spend under one cap, that of the project `name`. `open_logs` opens log and
    labels that they share, if they do.
    """
    section = settings.remote
    if not section.url:
        return AnswerStages(settings, state, metrics=metrics, open_logs=open_logs)
    spend: Spend = DailySpend(state, cost_per_call=section.cost_per_call, cap_per_day=section.spend_cap_per_day)
    if shared is not None:
        spend = SharedSpend(
            shared, name=name, cost_per_call=section.cost_per_call, cap_per_day=section.spend_cap_per_day
        )
    metrics.remote_spend = spend.spent
    remote = RemoteAnswers(section, spend, key=read_key())
    return AnswerStages(settings, state, remote=remote, metrics=metrics, open_logs=open_logs)


_STATUS = {"hold": "held", "apologise": "apologised", "uncertified": "uncertified"}


def _confidence(answers: RowAnswers) -> float:
    value = answers.confidence[0]
    return value if math.isfinite(value) else 0.0


@dataclass(slots=True, kw_only=True, eq=False)
class AnswerCall:
    """A message or row in the data plane, which its stages answer if the model does not.

    `values` are those of the request by column, and `text` its texts, which the remote stage may read.
    """

    request: Request
    rows: Floats
    values: dict[str, str | float | None]
    text: str
    id: str
    key: str
    started_ns: int
    deadline_ns: int
    api_key: str
    stages: AnswerStages

    @property
    def caller(self) -> str:
        """Name of the API key of the request, or its address."""
        return self.api_key or self.request.connection.peer

    def read_for(self, model: LoadedModel) -> Floats:
        """Return the row as another model reads it; raises DataError if the request lacks a column."""
        return model.reader.read_row(self.values, self.key)

    def answer(
        self,
        model: LoadedModel,
        values: list[float] | Floats,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
    ) -> None:
        """Reply with the model's answer, or go on to the next stage."""
        if answers is None:
            self.reply(model, _answer_without_plan(model, list(values)))
        elif answers.answered_by[0] == MODEL:
            self.reply(
                model, AnswerResponse(answer=answers.answer[0], answered_by=MODEL, confidence=_confidence(answers))
            )
        else:
            self.stages.answer(self, model, answers)

    def prepare(
        self,
        model: LoadedModel,
        values: Floats,
        violations: Sequence[Violation] = (),
        answers: RowAnswers | None = None,
    ) -> Callable[[], None]:
        """Return what answers on the loop."""
        return partial(self.answer, model, values.tolist(), violations, answers)

    def fail(self, error: Exception) -> None:
        """Send the error."""
        failure = request_error(error)
        extra = b"\r\nRetry-After: %d" % failure.retry_s if failure.retry_s else b""
        self.request.reply(failure.status, error_body(failure), extra=extra)

    def reply(self, model: LoadedModel, response: AnswerResponse) -> None:
        """Send a response."""
        self.stages.count_response(model, response)
        forwarded_by = model.selective.plan.forwarded_by if model.selective else ""
        named = msgspec.structs.replace(
            response,
            model_name=model.name,
            model_version=model.version,
            certified_for=forwarded_by or msgspec.UNSET,
            id=self.id or msgspec.UNSET,
            key=self.key,
        )
        self.request.reply(200, encode(named))


def _no_classes(model: LoadedModel) -> DataError:
    what = "gives several labels to a row, not one class" if model.classes else "answers with numbers, not with classes"
    return DataError(f"'{model.name}' {what}", hint=f"/v2/models/{model.name}/infer")


def _answer_without_plan(model: LoadedModel, values: list[float]) -> AnswerResponse:
    """Return the class of a release that answers every row."""
    answer, confidence = confidences("probability", np.array([values]), threshold=model.threshold)
    return AnswerResponse(
        answer=model.answers[int(answer[0])],
        answered_by=MODEL,
        confidence=float(np.nan_to_num(confidence[0])),
    )


def read_answer_call(
    request: Request, model: LoadedModel, stages: AnswerStages, *, plane: DataPlane, api_key: str
) -> AnswerCall:
    """Decode the body of a request for an answer; raises DataError."""
    started_ns, reader = time.perf_counter_ns(), model.reader
    if not model.answers:
        raise _no_classes(model)
    admit_object(request.body)
    try:
        wanted = _read_request(request.body)
    except _UNREADABLE as error:
        raise DataError(f"the body is not a request for an answer: {error}", hint=_HINT) from error
    reader.limits.require_name("the id of the request", wanted.id)
    reader.limits.require_name("the key of the request", wanted.key)
    values = _values(wanted, model)
    key = wanted.key or f"answer-{secrets.token_hex(8)}"
    rows = reader.read_row(values, key)
    texts = [values.get(name) for name in model.features.request.texts]
    return AnswerCall(
        request=request,
        rows=rows,
        values=values,
        text="\n".join(text for text in texts if isinstance(text, str)),
        id=wanted.id,
        key=key,
        started_ns=started_ns,
        deadline_ns=plane.deadline_ns(started_ns, 0),
        api_key=api_key,
        stages=stages,
    )


def _values(wanted: AnswerRequest, model: LoadedModel) -> dict[str, str | float | None]:
    """Return the values of a request by column."""
    if (wanted.text is None) == (wanted.row is None):
        raise DataError("a request for an answer has a text or a row", hint=_HINT)
    if wanted.row is not None:
        return wanted.row
    names = model.features.request.texts
    if len(names) != 1:
        what = f"the model reads {len(names)} columns of texts, so a text alone does not say which"
        raise DataError(what, hint='{"row": {"COLUMN": ...}}')
    return {names[0]: wanted.text}
