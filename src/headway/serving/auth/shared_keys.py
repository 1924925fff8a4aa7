"""API keys on all servers of a project: a publisher signs them, and each machine adds them to its own key file.

A key is only ever added or revoked. So the keys of all signed lists together are the current ones, whatever the order
in which lists arrive, and an old list cannot undo a revocation.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import msgspec

from headway.core.config import Config
from headway.core.contracts import Signed, State
from headway.core.errors import HeadwayError, Refused, StoreError, StoreUnavailable
from headway.core.record import StoredRecord, kind_of, read, write
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import Publisher, Trusted, load_publisher, load_trusted, verify
from headway.serving.auth.keys import ApiKey, add_keys, keys_file, merge_keys, read_keys
from headway.serving.telemetry.logs import Throttle
from headway.storage.addresses import open_state

_log = logging.getLogger(__name__)


class KeyList(StoredRecord, frozen=True, kw_only=True):
    """The API keys in the file of one machine, which a publisher signs."""

    name: str
    keys: dict[str, ApiKey]


_KIND = kind_of(KeyList)


class SharedKeys:
    """The signed lists in the state of a project, and the key file of this machine."""

    def __init__(self, config: Config, state: State) -> None:
        self._file = keys_file(config)
        self._name = config[ProjectSection].name
        self._trusted_keys = config.path(config[TrustSection].trusted_keys)
        self._state = state
        self._fetched: bytes | None = None
        self._throttle = Throttle()

    def fetch(self) -> None:
        """Add the keys of all lists to the file of this machine, if there is a new list.

        A list that no trusted key signed is logged and left out. Raises StoreError if the file cannot be written.
        """
        last = self._state.latest(_KIND, name=self._name)
        if last == self._fetched:
            return
        trusted, found = load_trusted(self._trusted_keys), dict[str, ApiKey]()
        for content in self._state.records(_KIND, name=self._name):
            try:
                found = merge_keys(found, self._verified(content, trusted))
            except (Refused, StoreError) as error:
                _log.error("API keys in the state were left out: %s", error)
        add_keys(self._file, found)
        self._fetched = last

    def follow(self) -> None:
        """Fetch as a server does: what prevents it is logged once a minute, and the keys in the file hold.

        Raises StoreUnavailable.
        """
        try:
            self.fetch()
        except StoreUnavailable:
            raise
        except HeadwayError as error:
            if self._throttle.count("fetch"):
                _log.error("kept the API keys of this machine: %s", error)

    def publish(self, publisher: Publisher) -> None:
        """Sign the keys in the file of this machine, for all others."""
        signed = publisher.sign(write(KeyList(name=self._name, keys=read_keys(self._file))))
        self._state.save(_KIND, msgspec.json.encode(signed), name=self._name)

    def _verified(self, content: bytes, trusted: Trusted) -> Mapping[str, ApiKey]:
        try:
            signed = msgspec.json.decode(content, type=Signed)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise StoreError("the list cannot be read, or is not signed", where=str(error)) from error
        verify(signed, trusted, subject="the list")
        listed = read(KeyList, signed.content)
        if listed.name != self._name:
            raise Refused(f"the list is that of {listed.name}")
        return listed.keys


@contextmanager
def keys_of_all_servers(config: Config, *, change: bool) -> Iterator[None]:
    """Bring the key file of this machine up to date; with `change`, sign it for all servers at the end.

    One process at a time changes keys. Without `[store] state` servers read this file themselves.
    """
    if not config[StoreSection].state:
        yield
        return
    with closing(open_state(config)) as state:
        shared = SharedKeys(config, state)
        if not change:
            shared.fetch()
            yield
            return
        publisher = load_publisher(config.path(config[TrustSection].publisher_key))
        with state.lease(f"api keys of {config[ProjectSection].name}"):
            shared.fetch()
            yield
            shared.publish(publisher)
