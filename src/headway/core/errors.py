"""Every error of headway: what happened, where, and a hint.

HeadwayError
  ConfigError       headway.toml, an environment variable or a flag is wrong
  DataError         a table, a column or a row is not what was declared
    RowRefused      a row holds a value that the model's library refuses; a ValueError as well
  PluginError       a plug-in is unknown, or its library is absent
  EngineError       a model cannot be opened or converted
  StoreError        state on disk cannot be read or written
    PointerMoved    another process updated the pointer first
    StoreUnavailable  a store on another machine does not answer at present
    LeaseHeld       another process does the same work
    LeaseLost       the lease of this process ended before its work
  Refused           a signature, digest or pointer failed verification: nothing was loaded
  NotApplicable     a plug-in cannot judge this subject; a report says so, it never reads as passed
"""

from __future__ import annotations


class HeadwayError(Exception):
    """An error in three parts: what happened, where, and a hint."""

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what)  # one argument, so that pickle can rebuild the error in another process

    def __str__(self) -> str:
        where = f"\n  at: {self.where}" if self.where else ""
        hint = f"\n  try: {self.hint}" if self.hint else ""
        return f"{self.what}{where}{hint}"


class ConfigError(HeadwayError):
    """A setting is unknown, malformed or missing."""


class DataError(HeadwayError):
    """A table, a column or a row is not what was declared."""


class RowRefused(DataError, ValueError):
    """A row holds a value that the model refuses; a ValueError, as its library raises, so that callers can catch it."""


class PluginError(HeadwayError):
    """A plug-in is unknown, or what it needs is not installed."""


class EngineError(HeadwayError):
    """A model cannot be opened, converted or run by an engine."""


class StoreError(HeadwayError):
    """State on disk cannot be read or written."""


class PointerMoved(StoreError):
    """Another process updated the pointer after the caller read it."""


class StoreUnavailable(StoreError):
    """A store on another machine does not answer at present; `role` is its setting in [store]."""

    def __init__(self, what: str, *, role: str = "state", where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.role = role


class LeaseHeld(StoreError):
    """Another process holds the lease, and does the same work."""


class LeaseLost(StoreError):
    """The lease of this process ended, so that another process may do the same work."""


class Refused(HeadwayError):
    """A signature, digest, file list or pointer is not what a trusted publisher signed."""


class NotApplicable(HeadwayError):
    """A plug-in cannot judge this subject; the caller must report that, and never count it as passed."""
