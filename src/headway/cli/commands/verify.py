"""Verify a release byte by byte, and every update of its pointers, or what was exported, against the trusted keys."""

from __future__ import annotations

from pathlib import Path

from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.deployment import edge
from headway.registry.model_registry import ModelRegistry
from headway.registry.sign import load_trusted
from headway.reporting.console import print_result
from headway.security.record.build import is_record, verify_record


def plugin(reference: str, *, project: ProjectFolder = Path("."), json: AsJson = False) -> None:
    """Verify a release, a record or an edge package; exit 1 if anything differs from what was signed.

    Of a record, the numbers are compared with their sources as well.

    Example: headway verify flight-delays@live --project headway-demo
    Example: headway verify record --project headway-demo

    Parameters
    ----------
    reference
        NAME@POINTER, NAME@DIGEST, or the folder of a compliance record or an edge package.
    """
    registry = ModelRegistry.from_config(config.load(project))
    if "@" not in reference and is_record(Path(reference)):
        _verify_record(Path(reference), registry, json=json)
        return
    if "@" not in reference and edge.is_package(Path(reference)):
        _verify_package(Path(reference), registry, json=json)
        return
    bundle = registry.resolve(reference)
    updates = registry.history(bundle.release.name)
    result = {"release": bundle.digest, "key": bundle.key, "files": sorted(bundle.files), "moves": len(updates)}
    counted = f"verified: {_counted(len(bundle.files), 'file')}, {_counted(len(updates), 'pointer update')}"
    lines = f"{reference} is {bundle.digest}\nsigned by {bundle.key}\n{counted}"
    print_result(result, lines, json=json)


def _verify_record(folder: Path, registry: ModelRegistry, *, json: bool) -> None:
    verified = verify_record(folder, load_trusted(registry.trusted_keys), registry.operators())
    found = verified.record
    result = {
        "record": verified.digest,
        "release": found.release,
        "key": verified.key,
        "files": len(found.files),
        "sources": len(found.sources),
        "signed_sources": verified.n_signed_sources,
        "numbers": len(found.figures),
        "texts": len(found.facts),
        "missing": len(found.missing),
    }
    lines = (
        f"{folder} is the record {verified.digest}",
        f"of the release {found.release}",
        f"signed by {verified.key}",
        f"verified: {_counted(len(found.files), 'file')}; {_counted(len(found.figures), 'number')} and "
        f"{_counted(len(found.facts), 'text')} are those of {_counted(len(found.sources), 'source')}, "
        f"{verified.n_signed_sources:,} of them signed by themselves",
        f"missing: gaps in {len(found.missing):,} of {_counted(len(found.points), 'point')}",
    )
    print_result(result, "\n".join(lines), json=json)


def _verify_package(folder: Path, registry: ModelRegistry, *, json: bool) -> None:
    verified = edge.verify_package(folder, load_trusted(registry.trusted_keys))
    package = verified.package
    lines = (
        f"{folder} is the edge package {verified.digest}",
        f"of the release {package.release}",
        f"signed by {verified.key}",
        f"verified: {_counted(len(package.files), 'file')}",
    )
    result = {
        "package": verified.digest,
        "release": package.release,
        "key": verified.key,
        "files": sorted(package.files),
    }
    print_result(result, "\n".join(lines), json=json)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
