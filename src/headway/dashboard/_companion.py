"""The dashboard as a child of a server, which starts it, starts it again if it dies, and ends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from headway.core import plugins
from headway.core.config import Config
from headway.dashboard.listening import address_of, listen
from headway.serving.workers.channel import Channel
from headway.serving.workers.supervisor import Companion


@contextmanager
def companion(configs: Sequence[Config]) -> Iterator[tuple[str, Companion]]:
    """Yield the address of the dashboard of projects, and its process; only that process imports what pages need."""
    with closing(listen(configs[0])) as listening:

        def run(channel: Channel) -> None:
            process = plugins.load_sibling(__name__, "process", reads="headway serve --ui")
            process.serve_as_child(configs, listening, channel)

        yield address_of(configs[0], listening), Companion("the dashboard", run, [listening])
