"""Verify a release byte by byte, and every update of its pointers, against the trusted keys."""

from __future__ import annotations

from pathlib import Path

from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.registry.model_registry import ModelRegistry
from headway.reporting.console import print_result


def plugin(reference: str, *, project: ProjectFolder = Path("."), json: AsJson = False) -> None:
    """Verify a release; exit 1 if a file, key or pointer update differs from what was signed.

    Example: headway verify flight-delays@live --project headway-demo

    Parameters
    ----------
    reference
        NAME@POINTER or NAME@DIGEST.
    """
    registry = ModelRegistry.from_config(config.load(project))
    bundle = registry.resolve(reference)
    updates = registry.history(bundle.release.name)
    result = {"release": bundle.digest, "key": bundle.key, "files": sorted(bundle.files), "moves": len(updates)}
    counted = f"verified: {_counted(len(bundle.files), 'file')}, {_counted(len(updates), 'pointer update')}"
    lines = f"{reference} is {bundle.digest}\nsigned by {bundle.key}\n{counted}"
    print_result(result, lines, json=json)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
