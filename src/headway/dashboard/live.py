"""What pages show of this moment: state and traffic of every model, read once for all who look within some seconds."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from headway.dashboard.access.sessions import Sessions
from headway.monitoring.overview import ModelState, model_state
from headway.monitoring.servers import ModelTraffic, ServerMetrics, ServerReader, count_traffic
from headway.registry.project import Project
from headway.reporting.text import formatting
from headway.reporting.text.overview import live_parts

FRESH_S = 4.0
WINDOW_S = 60.0
MAX_STREAMS = 64
EVERY_S = 5.0
END = "event: end\ndata: {}\n\n"
LONGEST_S = 600.0
"""After this time a stream ends, and the browser opens another if the person is still signed in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNow:
    """State and traffic of a model at one time; `traffic` is that of the last minute, or since the servers started."""

    state: ModelState
    servers: Sequence[ServerMetrics]
    traffic: ModelTraffic | None
    total: ModelTraffic | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """Every model at one time."""

    at: datetime
    models: Mapping[str, ModelNow]


class LiveView:
    """Reads states and servers for all pages and streams; an answer of the last seconds is given again."""

    def __init__(self, projects: Mapping[str, Project]) -> None:
        self._projects = projects
        self._readers = {name: ServerReader(project.config) for name, project in projects.items()}
        self._lock = threading.Lock()
        self._changes = self._shown = 0
        self._streams = 0
        self._turn = asyncio.Lock()
        self._last: Now | None = None
        self._read_s = 0.0

    def now(self) -> Now:
        """Return every model now."""
        with self._lock:
            is_fresh = time.monotonic() - self._read_s <= FRESH_S and self._shown == self._changes
            if self._last is None or not is_fresh:
                changes = self._changes
                found = {name: self._model(project) for name, project in self._projects.items()}
                self._last, self._read_s = Now(at=datetime.now(UTC), models=found), time.monotonic()
                self._shown = changes
            return self._last

    async def now_for_stream(self) -> Now:
        """Return every model now; all streams together hold one thread at most."""
        async with self._turn:
            return await run_in_threadpool(self.now)

    def forget(self) -> None:
        """Read everything again for the next page, because a person changed something."""
        self._changes += 1

    def take_stream(self) -> bool:
        """Count one more stream to a page, on the event loop; False if there are `MAX_STREAMS`."""
        if self._streams >= MAX_STREAMS:
            return False
        self._streams += 1
        return True

    def leave_stream(self) -> None:
        """Count one stream less."""
        self._streams -= 1

    def _model(self, project: Project) -> ModelNow:
        reader = self._readers[project.name]
        servers = reader.latest()
        state = model_state(project, servers=servers, declared=reader.declared)
        answering = any(not answer.problem for answer in state.servers)
        total = count_traffic(project.name, servers) if answering else None
        recent = reader.traffic(project.name, seconds=WINDOW_S) if answering else None
        return ModelNow(state=state, servers=servers, traffic=recent or total, total=total)

    def close(self) -> None:
        """End the reading in the background."""
        for reader in self._readers.values():
            reader.close()


def stream_events(live: LiveView, sessions: Sessions, key: str) -> StreamingResponse:
    """Return a stream of what changes on open pages, every few seconds, while the session of a key lasts."""
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(live, sessions, key), media_type="text/event-stream", headers=headers)


async def _stream(live: LiveView, sessions: Sessions, key: str) -> AsyncIterator[str]:
    """Yield an event every few seconds until the session or the time ends; after `end` the browser asks no more."""
    clock = asyncio.get_running_loop().time
    ends = clock() + LONGEST_S
    if not live.take_stream():
        yield END
        return
    try:
        while clock() < ends:
            if sessions.find(key, counts=False) is None:
                yield END
                return
            now = await live.now_for_stream()
            yield f"event: now\ndata: {json.dumps(_texts(now))}\n\n"
            await asyncio.sleep(EVERY_S)
    finally:
        live.leave_stream()


def _texts(now: Now) -> dict[str, dict[str, str]]:
    """Return the text and style of each part, by model and name."""
    found = {"at": {"text": f"{now.at:%Y-%m-%d %H:%M:%S} UTC", "style": "plain"}}
    for name, model in now.models.items():
        for part, line in live_parts(model.state, model.traffic).items():
            found[f"{name}.{part}"] = {"text": formatting.typeset(line.text), "style": line.style}
    return found
