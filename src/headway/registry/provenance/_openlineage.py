"""Send lineage with the OpenLineage client, which few projects install.

The repository facet, which the client would add, is left out: `headway data lineage` prints exactly what is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, JobEvent, OutputDataset, Run, RunEvent, RunState
from openlineage.client.transport.http import HttpConfig, HttpTransport

from headway.core.errors import ConfigError, DataError
from headway.core.urls import without_password
from headway.data.settings.provenance import ENVIRONMENT

_AS_THEY_ARE = {"facets": {"source_code_location": {"disabled": True}}}
_WAITS_S, _RETRIES = 5.0, 1
_FAILURES = (ImportError, OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError)
Json = dict[str, Any]


def emitted(events: Sequence[Json], to: str) -> Iterator[Json]:
    """Yield each event after the receiver accepted it; `to` is its URL, or `environment` for the client's own setting.

    Raises ConfigError without a receiver, DataError if an event is not accepted.
    """
    client = _client(to)
    try:
        for event in events:
            _emit(client, event)
            yield event
    finally:
        client.close(_WAITS_S)


def _client(to: str) -> OpenLineageClient:
    if to != ENVIRONMENT:
        settings = {"url": to, "timeout": _WAITS_S, "retry": {"total": _RETRIES}}
        try:
            return OpenLineageClient(transport=HttpTransport(HttpConfig.from_dict(settings)), config=_AS_THEY_ARE)
        except _FAILURES as error:
            raise _nowhere(
                f"'{without_password(to)}' does not accept lineage: {without_password(str(error))}"
            ) from error
    try:
        client = OpenLineageClient(config=_AS_THEY_ARE)
    except _FAILURES as error:
        raise _nowhere(f"OpenLineage cannot be set up: {without_password(str(error))}") from error
    if client.transport.kind == "console" and not client.config.transport:
        raise _nowhere("no receiver of lineage is set")
    if client.transport.kind == "noop":
        raise _nowhere("OpenLineage is switched off")
    return client


def _emit(client: OpenLineageClient, event: Json) -> None:
    try:
        client.emit(_event(event))
    except _FAILURES as error:
        raise DataError(without_password(f"{type(error).__name__}: {error}")) from error


def _event(event: Json) -> RunEvent | JobEvent:
    common = {
        "eventTime": event["eventTime"],
        "producer": event["producer"],
        "job": Job(**event["job"]),
        "inputs": [InputDataset(**dataset) for dataset in event["inputs"]],
        "outputs": [OutputDataset(**dataset) for dataset in event["outputs"]],
    }
    if "run" not in event:
        return JobEvent(**common)
    return RunEvent(eventType=RunState[event["eventType"]], run=Run(**event["run"]), **common)


def _nowhere(what: str) -> ConfigError:
    hint = 'lineage_to = "https://HOST" in [provenance]; or OPENLINEAGE_URL with "environment"'
    return ConfigError(what, where="[provenance] lineage_to", hint=hint)
