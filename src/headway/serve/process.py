"""A server process: verify, load and test the releases, listen, and leave in good order when told to."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Sequence

import uvloop

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.release.register import Register
from headway.serve.listener import Listener
from headway.serve.load import Loaded, load
from headway.serve.plane import Plane
from headway.serve.routes import Routes
from headway.serve.site import Limits

_DRAIN_S = 10.0


def serve(config: Config, references: Sequence[str], *, announce: Callable[[str], object]) -> None:
    """Serve the releases at `name@pointer` until SIGTERM or SIGINT, then answer what is in flight and return.

    Announces one line when it listens. Raises Refused, and listens nowhere, where a release does not verify or fails
    its self-test.
    """
    register = Register.from_config(config)
    try:
        releases = [load(register.resolve(reference)) for reference in references]
    finally:
        register.state.close()
    names = [release.name for release in releases]
    if len(set(names)) < len(names) or not names:
        raise ConfigError(f"a server answers each name with one release, given: {', '.join(references) or 'none'}")
    what = ", ".join(f"{reference} {release.digest}" for reference, release in zip(references, releases, strict=True))
    gc.collect()
    gc.freeze()  # what was loaded stays; no later collection need look at it
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            _serve(config, releases, announce=lambda address: announce(f"listening on {address} serving {what}"))
        )


async def _serve(config: Config, releases: Sequence[Loaded], *, announce: Callable[[str], object]) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    plane = Plane(releases, soon=loop.call_soon, max_batch_rows=config.serve.max_batch_rows)
    listener = Listener(
        Routes(plane, draining=lambda: listener.draining),
        limits=Limits(body_bytes=config.serve.max_body_bytes),
        errors=plane.metrics.errors,
    )
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told.set)
    address = await listener.open(config.serve.host, config.serve.port)
    try:
        announce(address)
        await told.wait()
    finally:
        await listener.drain(_DRAIN_S)
