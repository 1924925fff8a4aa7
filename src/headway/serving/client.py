"""A client of a headway server over one persistent connection."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import quote, urlsplit

import msgspec
import numpy as np

from headway.core.errors import ConfigError, DataError, StoreError
from headway.core.variant import LIBRARY_THRESHOLD
from headway.serving.protocol.schemas import FeaturesPushed, RefusedRow

if TYPE_CHECKING:
    from headway.core.contracts import Floats

_POLL_S = 0.02
_PUSH_ROWS = 1_000  # of a request


class _Tensor(msgspec.Struct):
    name: str
    datatype: str


class _Metadata(msgspec.Struct):
    inputs: list[_Tensor]


class _OutputNames(msgspec.Struct):
    classes: tuple[str, ...] = ()


class _Output(msgspec.Struct):
    name: str
    shape: tuple[int, int]
    data: list[float | str | None]
    parameters: _OutputNames = msgspec.field(default_factory=_OutputNames)


class _Answer(msgspec.Struct):
    outputs: list[_Output]


class _Error(msgspec.Struct):
    error: str


class SelectiveAnswers(NamedTuple):
    """Answers of a release with an answer plan to n rows.

    Attributes
    ----------
    probabilities : float64 [n, k]
        Outputs of the model.
    answer : list of str
        Class that the model answers, or "" if it hands the row on.
    confidence : float64 [n]
        Confidence in the class with the highest probability.
    answered_by : list of str
        `model`, or the stage that answers next.
    reason : list of str
        Why the model does not answer, or "".
    """

    probabilities: Floats
    answer: list[str]
    confidence: Floats
    answered_by: list[str]
    reason: list[str]


class Client:
    """Client of the server at `http://HOST:PORT` or `https://HOST:PORT`; not safe for use by two threads at once.

    Parameters
    ----------
    address
        URL of the server.
    api_key
        API key sent with each request; "" for none.
    ca
        PEM file of the certificate authorities to trust over TLS; None for those that the machine trusts.
    timeout_s
        Time limit of each request, seconds.
    """

    def __init__(self, address: str, *, api_key: str = "", ca: str | None = None, timeout_s: float = 30.0) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"invalid server address {address!r}", hint="http://127.0.0.1:8080")
        self._address = address
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        if parts.scheme == "https":
            trusted = ssl.create_default_context(cafile=ca)
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_s, context=trusted
            )
        self._datatypes: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the names of the columns that a model reads."""
        return tuple(self._datatypes.get(name) or self._describe(name))

    def infer(self, name: str, columns: Mapping[str, Sequence[object]], *, key: str = "") -> Floats:
        """Predict rows.

        Parameters
        ----------
        name
            Name of the model.
        columns
            Values by column; None and NaN are missing.
        key
            Key of the rows, which online features and the canary assignment use; "" for none.

        Returns
        -------
        float64 [n, k]
            Outputs of the model.

        Raises
        ------
        DataError
            If the server rejects the rows, with its message.
        StoreError
            If the server does not answer.
        """
        return decode_output(self._infer(name, columns, key))

    def infer_answers(self, name: str, columns: Mapping[str, Sequence[object]], *, key: str = "") -> SelectiveAnswers:
        """Return the answers to rows of a release that answers selectively, and who answers the others.

        The parameters and errors are those of `infer`; raises DataError too if the release has no answer plan.
        """
        outputs = {output.name: output for output in _outputs(self._infer(name, columns, key))}
        if "answered_by" not in outputs:
            raise DataError(f"the release of '{name}' has no answer plan", hint="[answer] limit = 0.05")
        first, *found = outputs.values()
        answer, confidence, answered_by, reason = (output.data for output in found)
        strings = [[str(value) for value in values] for values in (answer, answered_by, reason)]
        numbers = np.array(confidence, dtype=np.float64)
        return SelectiveAnswers(_numbers_of(first), strings[0], numbers, strings[1], strings[2])

    def infer_labels(
        self, name: str, columns: Mapping[str, Sequence[object]], *, key: str = "", threshold: float = LIBRARY_THRESHOLD
    ) -> list[dict[str, float]]:
        """Return the labels of each row that have at least this probability, the likeliest first.

        For a model of several labels a row, whose library gives a label above one half. The other parameters and the
        errors are those of `infer`; raises DataError too if the answer has no names.
        """
        output = _outputs(self._infer(name, columns, key))[0]
        names = output.parameters.classes
        if not names:
            raise DataError(f"the answers of '{name}' have no names", hint=f"client.infer({name!r}, columns)")
        found = []
        for row in _numbers_of(output):
            order = np.argsort(-row, kind="stable").tolist()
            found.append({names[index]: float(row[index]) for index in order if row[index] >= threshold})
        return found

    def _infer(self, name: str, columns: Mapping[str, Sequence[object]], key: str) -> bytes:
        known = self._datatypes.get(name) or self._describe(name)
        inputs = [
            {"name": column, "shape": [len(values)], "datatype": known.get(column, "FP64"), "data": _plain(values)}
            for column, values in columns.items()
        ]
        body = {"inputs": inputs, **({"parameters": {"key": key}} if key else {})}
        return self._request("POST", f"/v2/models/{quote(name)}/infer", msgspec.json.encode(body))

    def push(self, view: str, rows: Iterable[Mapping[str, object]]) -> FeaturesPushed:
        """Store rows of a feature view in the online store, as `headway features push` does; needs the scope `push`.

        Pushing rows again changes nothing.

        Parameters
        ----------
        view
            The view, such as `weather` (its newest version) or `weather@v2`.
        rows
            Values by column of the source; None and NaN are missing, times are ISO 8601 or datetime.

        Returns
        -------
        FeaturesPushed
            Numbers of rows, and the refused rows with their number, from 1, and the reason.

        Raises
        ------
        DataError
            If the server knows no such view, or its rows are not pushed.
        StoreError
            If the server or its store does not answer; rows before were stored, and may be pushed again.
        """
        path, iterator = f"/v2/features/{quote(view)}/push", iter(rows)
        total = FeaturesPushed(view=view, rows=0, stored=0, refused=())
        while part := list(islice(iterator, _PUSH_ROWS)):
            body = msgspec.json.encode(part, enc_hook=_number)
            done = msgspec.json.decode(self._request("POST", path, body), type=FeaturesPushed)
            refused = (RefusedRow(total.rows + row.number, row.reason) for row in done.refused)
            total = FeaturesPushed(
                view=done.view,
                rows=total.rows + done.rows,
                stored=total.stored + done.stored,
                refused=(*total.refused, *refused),
            )
        return total

    def ready(self, timeout_s: float = 10.0) -> None:
        """Wait until the server is ready; raises StoreError if it is not in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._request("GET", "/v2/health/ready")
                return
            except StoreError as error:
                if time.monotonic() > deadline:
                    raise StoreError(f"not ready after {timeout_s:g} s: {error.what}", where=self._address) from error
                time.sleep(_POLL_S)

    def _describe(self, name: str) -> dict[str, str]:
        metadata = msgspec.json.decode(self._request("GET", f"/v2/models/{quote(name)}"), type=_Metadata)
        self._datatypes[name] = {column.name: column.datatype for column in metadata.inputs}
        return self._datatypes[name]

    def _request(self, method: str, path: str, body: bytes | None = None) -> bytes:
        try:
            status, answer = self._send(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise StoreError(f"the server does not answer: {error}", where=self._address) from error
        if status == 200:
            return answer
        message = _error_text(answer, status)
        if status >= 500:
            raise StoreError(message, where=f"{self._address}{path}")
        raise DataError(message, where=f"{self._address}{path}")

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Send a request.

        If the persistent connection was closed, send it again on a new one, as requests are idempotent.
        """
        reused = self._connection.sock is not None
        try:
            return self._exchange(method, path, body)
        except (ConnectionError, http.client.RemoteDisconnected):
            self.close()
            if not reused:
                raise
            return self._exchange(method, path, body)

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        self._connection.request(method, path, body=body, headers=headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def decode_output(answer: bytes) -> Floats:
    """Return the first output of a JSON response, float64 [n, k], with NaN for null."""
    return _numbers_of(_outputs(answer)[0])


def _outputs(answer: bytes) -> list[_Output]:
    return msgspec.json.decode(answer, type=_Answer).outputs


def _numbers_of(output: _Output) -> Floats:
    return np.array(output.data, dtype=np.float64).reshape(output.shape)


def _plain(values: Sequence[object]) -> list[object]:
    """Convert values for JSON; booleans become numbers, as the model was trained on them."""
    items: list[object] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [float(value) if isinstance(value, bool | np.number) else value for value in items]


def _number(value: object) -> object:
    """Convert a value that JSON has no form of; raises TypeError for one that is not a number of numpy."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a value of a row is a number, a string, a boolean or a time, not {type(value).__name__}")


def _error_text(answer: bytes, status: int) -> str:
    try:
        return msgspec.json.decode(answer, type=_Error).error
    except msgspec.MsgspecError:
        return f"the server answered with status {status}"
