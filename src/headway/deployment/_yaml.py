"""Kubernetes manifests as YAML, in which no text can be read as something else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes every text but plain words, because readers of YAML differ in what else they take for a number."""

    def ignore_aliases(self, data: object) -> bool:
        """Write each value out, also where two are the same object."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    style = "" if plain else "|" if "\n" in text else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(documents: Iterable[object]) -> str:
    """Return documents as one YAML file."""
    options = {"sort_keys": False, "width": 120, "allow_unicode": True, "explicit_start": True}
    return str(yaml.dump_all(documents, Dumper=_Dumper, **options))
