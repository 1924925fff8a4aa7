"""A state on "another machine", which does not answer while a file named `away` is in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headway.core.errors import StoreUnavailable
from headway.storage.state.sqlite import Sqlite

ADDRESS = "switched://FOLDER"


class plugin(Sqlite):
    def __init__(self, address: Path | str) -> None:
        folder = Path(str(address).removeprefix("switched://"))
        self._switch = folder / "away"
        self._expect_there()
        super().__init__(folder)

    def _expect_there(self) -> None:
        if self._switch.exists():
            raise StoreUnavailable("the database cannot be reached", where="switched://", hint="wait")

    def _rows(self, query: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        self._expect_there()
        return super()._rows(query, values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._expect_there()
        with super()._transaction():
            yield
