"""A section of headway.toml is a plug-in of the kind `settings`, in the package that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from headway.core.record import Record

DURATION = r"^[1-9]\d*[mhd]$"
"""Pattern of a setting that is a duration: 1d, 12h, 30m."""


class SettingsSection(Record, frozen=True, kw_only=True):
    """One table of headway.toml: each field is a setting with a type, a default and a help text.

    Attributes
    ----------
    table : str
        Name of the table in headway.toml, which is also that of the plug-in.
    secrets : mapping of str to str
        Setting -> where its secret is read from, in words: a secret is never written in a file or a flag.
    secret_variables : tuple of str
        Patterns of the environment variables with secrets, which are not settings.
    """

    table: ClassVar[str]
    secrets: ClassVar[Mapping[str, str]] = {}
    secret_variables: ClassVar[tuple[str, ...]] = ()

    def exposure(self, path: Callable[[str], Path]) -> dict[str, str]:
        """Return what the section opens or asks, by setting: addresses, and digests of files, which `path` resolves."""
        return {}
