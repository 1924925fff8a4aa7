"""The answer to a message that was handed on: found by its key in the log and the labels, which are all there is."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headway.core.answering import confidences
from headway.core.errors import StoreError
from headway.serving.loading import LoadedModel
from headway.serving.protocol.schemas import LaterAnswer
from headway.storage import segments, traffic
from headway.storage.traffic import MODEL, PEOPLE, REMOTE, StoredLabel

if TYPE_CHECKING:
    from headway.storage._shared_logs import SharedLogs

MAX_SEARCHED_BYTES = 1 << 28
"""Bytes of the log that are searched for a key, the latest first."""


class _LoggedRequest(NamedTuple):
    """The first row of a logged request, its segment, and the name of the API key that sent it."""

    segment: Path
    api_key: str
    row: dict[str, float]

    def is_readable_by(self, api_key: str) -> bool:
        """Return whether a caller sent it, or it was sent without an API key."""
        return self.api_key in ("", api_key)


def find_later_answer(
    state: Path,
    model: LoadedModel,
    key: str,
    *,
    stage: str = "",
    api_key: str = "",
    logs: SharedLogs | None = None,
) -> LaterAnswer | None:
    """Return the answer to the last message of a key; None if the latest log has none of this caller.

    The latest label of a person wins, then that of the remote stage, then what the model answered.

    Parameters
    ----------
    stage : str
        Identity of the remote stage, whose answers are `uncertified` unless its audit covers them.
    api_key : str
        Name of the API key of the caller. Messages that were sent with another API key are not found; those that were
        sent without one are. People label the first message of a key, so its labels are those of its sender.
    logs : SharedLogs, optional
        Log and labels that machines share; `state` then has only what waits to be shipped.

    Raises
    ------
    StoreError
        If a segment cannot be read, or the store of the shared log does not answer.
    """
    requests, labels = _search(state, model.name, key, logs)
    found = next((request for request in requests if request.is_readable_by(api_key)), None)
    if found is None:
        return None
    labels = [label for label in labels if _is_class(label.label, model.answers)]
    if labels and api_key:
        labels = _labels_of_first(deque([found, *deque(requests, maxlen=1)], maxlen=1)[0], labels, api_key)
    by_people = [label for label in labels if label.who != REMOTE]
    if labels:
        label = (by_people or labels)[-1]
        at = datetime.fromtimestamp(label.at_us / 1e6, UTC).isoformat(timespec="seconds")
        answer, by = model.answers[int(label.label)], PEOPLE if by_people else REMOTE
        is_covered = by_people or not (stage and model.selective) or model.selective.covers_remote(stage, answer)
        status = "answered" if is_covered else "uncertified"
        return _of(model, key, answer=answer, answered_by=by, status=status, at=at)
    row = found.row
    by_model = row.get("answered_by", 0) == traffic.ANSWERED_BY.index(MODEL)
    if not by_model or row["status"] != 0:
        return _of(model, key, answered_by=PEOPLE, status="held")
    if found.segment.parent.name != traffic.log_folder(state, model.name, model.digest).name:
        return _of(model, key, answered_by=MODEL)  # of a release that may have other classes
    outputs = sorted((name for name in row if name.startswith("out.")), key=lambda name: int(name[4:]))
    best, _ = confidences("probability", np.array([[row[name] for name in outputs]]), threshold=model.threshold)
    return _of(model, key, answer=model.answers[int(best[0])], answered_by=MODEL)


def _of(model: LoadedModel, key: str, **fields: str) -> LaterAnswer:
    return LaterAnswer(key=key, model_name=model.name, **fields)


def _is_class(label: float, classes: Sequence[str]) -> bool:
    return label.is_integer() and 0 <= label < len(classes)


def _labels_of_first(first: _LoggedRequest, labels: list[StoredLabel], api_key: str) -> list[StoredLabel]:
    """Return the labels of a key that a caller may read, given its first message that was found.

    A label that is older than this message was given to another one, of which the log is not searched any more.
    """
    return [label for label in labels if first.is_readable_by(api_key) and label.at_us >= first.row.get("at_us", 0.0)]


def _search(
    state: Path, name: str, key: str, logs: SharedLogs | None
) -> tuple[Iterator[_LoggedRequest], list[StoredLabel]]:
    """Return the requests with a key, the latest first, and the labels of the key, the oldest first.

    What waits to be shipped is read before what machines share is listed: a segment is removed here only once it is
    there.
    """
    requests, labels = _requests_in(state, name, key), traffic.labels_of(state, name, key)
    if logs is None:
        return requests, labels
    waiting = [*requests]
    root = logs.refresh(name, max_log_bytes=MAX_SEARCHED_BYTES)
    shared = _requests_in(root, name, key)
    merged = heapq.merge(waiting, shared, key=lambda request: request.segment.name, reverse=True)
    return merged, sorted({*labels, *traffic.labels_of(root, name, key)}, key=lambda label: label.at_us)


def _requests_in(root: Path, name: str, key: str) -> Iterator[_LoggedRequest]:
    """Yield the answered requests with a key in the latest segments of a folder, the latest first.

    Segments that were merged since they were listed are found in the merged one.
    """
    searched, remaining = set[Path](), MAX_SEARCHED_BYTES
    new = _in_order_of_time(root, name)
    while new:
        path = new.pop()
        searched.add(path)
        try:
            remaining -= path.stat().st_size
            if remaining < 0:
                return
            found = _answered(path, key) if segments.contains(path, key) else []
        except (OSError, StoreError):
            if path.exists():
                raise
            new = [path for path in _in_order_of_time(root, name) if path not in searched]
        else:
            yield from found


def _answered(path: Path, key: str) -> list[_LoggedRequest]:
    """Return the answered requests of a segment, the latest first; only the first row of a request has its key.

    The keys are read before the rest: a key that is part of others is found in the bytes of every segment.
    """
    if key not in segments.load(path, "key")["key"]:
        return []
    columns = segments.load(path)
    keys, answered = columns["key"], columns["answered"]
    api_keys = columns.get(traffic.API_KEY) or [""] * len(keys)
    return [
        _LoggedRequest(
            segment=path,
            api_key=str(api_keys[index] or ""),
            row={name: float(values[index]) for name, values in columns.items() if isinstance(values, np.ndarray)},
        )
        for index in reversed(range(len(keys)))
        if keys[index] == key and answered[index] == 1
    ]


def _in_order_of_time(root: Path, name: str) -> list[Path]:
    """Return the segments of the log of a name, those of all releases, in the order in which they were written."""
    found = [path for folder in traffic.log_folders(root, name) for path in segments.segments(folder)]
    return sorted(found, key=lambda path: path.name)
