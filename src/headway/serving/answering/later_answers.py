"""The answer to a message that was handed on: found by its key in the log and the labels, which are all there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from headway.core.answering import confidences
from headway.core.errors import StoreError
from headway.serving.loading import LoadedModel
from headway.serving.protocol.schemas import LaterAnswer
from headway.storage import segments, traffic
from headway.storage.traffic import MODEL, PEOPLE, REMOTE

MAX_SEARCHED_BYTES = 1 << 28
"""Bytes of the log that are searched for a key, the latest first."""


def find_later_answer(state: Path, model: LoadedModel, key: str, *, api_key: str = "") -> LaterAnswer | None:
    """Return the answer to the last message of a key; None if the latest log has none of this caller.

    The latest label of a person wins, then that of the remote stage, then what the model answered.

    Parameters
    ----------
    api_key : str
        Name of the API key of the caller. Messages that were sent with another API key are not found; those that were
        sent without one are.

    Raises
    ------
    StoreError
        If a segment cannot be read.
    """
    found = _last_request(state, model.name, key, api_key)
    if found is None:
        return None
    folder, row = found
    labels = [label for label in traffic.labels_of(state, model.name, key) if _is_class(label.label, model.answers)]
    by_people = [label for label in labels if label.who != REMOTE]
    if labels:
        label = (by_people or labels)[-1]
        at = datetime.fromtimestamp(label.at_us / 1e6, UTC).isoformat(timespec="seconds")
        by = PEOPLE if by_people else REMOTE
        return _of(model, key, answer=model.answers[int(label.label)], answered_by=by, at=at)
    by_model = row.get("answered_by", 0) == traffic.ANSWERED_BY.index(MODEL)
    if not by_model or row["status"] != 0:
        return _of(model, key, answered_by=PEOPLE, status="held")
    if folder != traffic.log_folder(state, model.name, model.digest):
        return _of(model, key, answered_by=MODEL)  # of a release that may have other classes
    outputs = sorted((name for name in row if name.startswith("out.")), key=lambda name: int(name[4:]))
    best, _ = confidences("probability", np.array([[row[name] for name in outputs]]), threshold=model.threshold)
    return _of(model, key, answer=model.answers[int(best[0])], answered_by=MODEL)


def _of(model: LoadedModel, key: str, **fields: str) -> LaterAnswer:
    return LaterAnswer(key=key, model_name=model.name, **fields)


def _is_class(label: float, classes: Sequence[str]) -> bool:
    return label.is_integer() and 0 <= label < len(classes)


def _last_request(state: Path, name: str, key: str, api_key: str) -> tuple[Path, dict[str, float]] | None:
    """Return the last request with a key that this caller may read: the folder of its log, and its first row."""
    for path in _latest(state, name):
        try:
            if not segments.contains(path, key):
                continue
            columns = segments.load(path)
        except (OSError, StoreError):
            if path.exists():
                raise
            continue  # it was merged or erased since it was listed
        keys, answered = columns["key"], np.asarray(columns["answered"])
        api_keys = columns.get(traffic.API_KEY) or [""] * len(keys)
        for index in reversed(range(len(keys))):  # rows are in the order of time, and only the first has the key
            if keys[index] == key and api_keys[index] in ("", api_key) and answered[index] == 1:
                row = {name: float(values[index]) for name, values in columns.items() if isinstance(values, np.ndarray)}
                return path.parent, row
    return None


def _latest(state: Path, name: str) -> Iterator[Path]:
    """Yield the segments of the log of a name, the latest first, up to the limit."""
    found = [path for folder in traffic.log_folders(state, name) for path in segments.segments(folder)]
    remaining = MAX_SEARCHED_BYTES
    for path in sorted(found, key=lambda path: path.name, reverse=True):
        try:
            remaining -= path.stat().st_size
        except FileNotFoundError:
            continue
        if remaining < 0:
            return
        yield path
