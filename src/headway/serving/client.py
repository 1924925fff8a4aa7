"""A client of a headway server, over one connection that is kept."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, urlsplit

import msgspec
import numpy as np

from headway.core.errors import ConfigError, DataError, StoreError

if TYPE_CHECKING:
    from headway.core.contracts import Floats

_POLL_S = 0.02


class _Described(msgspec.Struct):
    name: str
    datatype: str


class _Metadata(msgspec.Struct):
    inputs: list[_Described]


class _Output(msgspec.Struct):
    shape: tuple[int, int]
    data: list[float | None]


class _Answer(msgspec.Struct):
    outputs: list[_Output]


class _Error(msgspec.Struct):
    error: str


class Client:
    """Asks the server at `http://HOST:PORT` or `https:`; not for use by two threads at once.

    `api_key` is brought with each request; over TLS the server's certificate is held to those in the file `ca`, or to
    those that this machine trusts.
    """

    def __init__(self, address: str, *, api_key: str = "", ca: str | None = None, timeout_s: float = 30.0) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{address!r} is no address of a server", hint="http://127.0.0.1:8080")
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
        """Let go of the connection."""
        self._connection.close()

    def infer(self, name: str, columns: Mapping[str, Sequence[object]], *, key: str = "") -> Floats:
        """The answers to rows given as columns, float64 [n, k]; None and NaN are missing; `key` says whose rows.

        Raises DataError with the server's words where it refuses the rows, StoreError where it gives no answer.
        """
        known = self._datatypes.get(name) or self._describe(name)
        inputs = [
            {"name": key, "shape": [len(values)], "datatype": known.get(key, "FP64"), "data": _plain(values)}
            for key, values in columns.items()
        ]
        body = {"inputs": inputs, **({"parameters": {"key": key}} if key else {})}
        answer = self._ask("POST", f"/v2/models/{quote(name)}/infer", msgspec.json.encode(body))
        output = msgspec.json.decode(answer, type=_Answer).outputs[0]
        return np.array(output.data, dtype=np.float64).reshape(output.shape)

    def ready(self, timeout_s: float = 10.0) -> None:
        """Wait until the server is ready; raises StoreError where it is not so in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._ask("GET", "/v2/health/ready")
                return
            except StoreError as error:
                if time.monotonic() > deadline:
                    raise StoreError(f"not ready after {timeout_s:g} s: {error.what}", where=self._address) from error
                time.sleep(_POLL_S)

    def _describe(self, name: str) -> dict[str, str]:
        metadata = msgspec.json.decode(self._ask("GET", f"/v2/models/{quote(name)}"), type=_Metadata)
        self._datatypes[name] = {column.name: column.datatype for column in metadata.inputs}
        return self._datatypes[name]

    def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        try:
            status, answer = self._send(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise StoreError(f"the server gives no answer: {error}", where=self._address) from error
        if status == 200:
            return answer
        message = _says(answer, status)
        if status >= 500:
            raise StoreError(message, where=f"{self._address}{path}")
        raise DataError(message, where=f"{self._address}{path}")

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Send once; again on a new connection where the kept one was closed meanwhile: asking twice does no harm."""
        kept = self._connection.sock is not None
        try:
            return self._exchange(method, path, body)
        except (ConnectionError, http.client.RemoteDisconnected):
            self.close()
            if not kept:
                raise
            return self._exchange(method, path, body)

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        self._connection.request(method, path, body=body, headers=self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def _plain(values: Sequence[object]) -> list[object]:
    """Values that JSON has a form for; truth as a number, as the model was trained on it."""
    listed: list[object] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    return [float(value) if isinstance(value, bool | np.number) else value for value in listed]


def _says(answer: bytes, status: int) -> str:
    try:
        return msgspec.json.decode(answer, type=_Error).error
    except msgspec.MsgspecError:
        return f"the server answered with status {status}"
