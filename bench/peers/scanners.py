"""Scan every file of a folder with a peer, in its own environment: `scanners.py PEER FOLDER`.

Prints one JSON object: for each file, whether the peer did not call it clean, and its seconds. A file that the peer
cannot read, or skips, is not called clean.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path


def _picklescan() -> Callable[[Path], bool]:
    scan_file_path = importlib.import_module("picklescan.scanner").scan_file_path

    def scan(path: Path) -> bool:
        result = scan_file_path(str(path))
        return bool(result.issues_count or result.infected_files or result.scan_err or not result.scanned_files)

    return scan


def _modelscan() -> Callable[[Path], bool]:
    make = importlib.import_module("modelscan.modelscan").ModelScan

    def scan(path: Path) -> bool:
        found = make().scan(str(path))
        return bool(found["issues"] or found["errors"] or not found["summary"]["scanned"]["total_scanned"])

    return scan


def _modelaudit() -> Callable[[Path], bool]:
    scan_model = importlib.import_module("modelaudit.core").scan_model_directory_or_file

    def scan(path: Path) -> bool:
        found = scan_model(str(path), skip_file_types=False, cache_enabled=False)
        severities = {str(getattr(issue.severity, "value", issue.severity)) for issue in found.issues}
        return bool(severities & {"critical", "warning"} or not found.success)

    return scan


def _fickling() -> Callable[[Path], bool]:
    fickling = importlib.import_module("fickling")

    def scan(path: Path) -> bool:
        # Its older `is_likely_safe` reads the first pickle of a file, and no archive.
        members = fickling.scan_zip_archive(str(path), graceful=True) if zipfile.is_zipfile(path) else {}
        return not all(members.values() or [fickling.scan_file(str(path), graceful=True)])

    return scan


PEERS = {"picklescan": _picklescan, "modelscan": _modelscan, "modelaudit": _modelaudit, "fickling": _fickling}


def main(peer: str, folder: str) -> None:
    """Print what the peer says of each file."""
    scan = PEERS[peer]()
    found: dict[str, tuple[bool, float]] = {}
    for path in sorted(Path(folder).iterdir()):
        began = time.perf_counter()
        try:
            flagged = scan(path)
        except BaseException:  # noqa: BLE001 - a peer that fails has not called the file clean
            flagged = True
        found[path.name] = (flagged, time.perf_counter() - began)
    sys.stdout.flush()
    Path(sys.argv[3]).write_text(json.dumps(found), encoding="utf-8")


main(sys.argv[1], sys.argv[2])
