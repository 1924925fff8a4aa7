"""Scan every file of a folder with a peer, in its own environment: `scanners.py PEER FOLDER ANSWER`.

Writes one JSON object: for each file the verdict of the peer in our words (`safe`, `unsafe`, `not judged`), and its
seconds. A file that the peer cannot read, or skips, is not judged.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

FILE_S = 20
"""Seconds after which a file is not judged."""


def _verdict(*, is_unsafe: object, is_unread: object) -> str:
    return "unsafe" if is_unsafe else "not judged" if is_unread else "safe"


def _picklescan(*, strict: bool = False) -> Callable[[Path], str]:
    scan_file_path = importlib.import_module("picklescan.scanner").scan_file_path

    def scan(path: Path) -> str:
        result = scan_file_path(str(path), strict=strict)
        is_unsafe = result.issues_count or result.infected_files
        return _verdict(is_unsafe=is_unsafe, is_unread=result.scan_err or not result.scanned_files)

    return scan


def _modelscan() -> Callable[[Path], str]:
    make = importlib.import_module("modelscan.modelscan").ModelScan

    def scan(path: Path) -> str:
        found = make().scan(str(path))
        is_unread = found["errors"] or not found["summary"]["scanned"]["total_scanned"]
        return _verdict(is_unsafe=found["issues"], is_unread=is_unread)

    return scan


def _fickling() -> Callable[[Path], str]:
    fickling = importlib.import_module("fickling")

    def scan(path: Path) -> str:
        # Its older `is_likely_safe` reads the first pickle of a file, and no archive.
        members = fickling.scan_zip_archive(str(path), graceful=True) if zipfile.is_zipfile(path) else {}
        results = list(members.values()) or [fickling.scan_file(str(path), graceful=True)]
        wrong = [result for result in results if not result]
        return _verdict(is_unsafe=any(not result.errors for result in wrong), is_unread=wrong)

    return scan


PEERS: dict[str, Callable[[], Callable[[Path], str]]] = {
    "picklescan": _picklescan,
    "picklescan --strict": lambda: _picklescan(strict=True),
    "modelscan": _modelscan,
    "fickling": _fickling,
}


def _stop(*_: object) -> NoReturn:
    raise TimeoutError(f"no verdict after {FILE_S} s")


def main(peer: str, folder: str, answer: str) -> None:
    """Write what the peer says of each file."""
    scan = PEERS[peer]()
    signal.signal(signal.SIGALRM, _stop)
    found: dict[str, tuple[str, float]] = {}
    for path in sorted(Path(folder).iterdir()):
        began = time.perf_counter()
        signal.alarm(FILE_S)
        try:
            verdict = scan(path)
        except BaseException:  # noqa: BLE001 - a peer that fails has not called the file clean
            verdict = "not judged"
        signal.alarm(0)
        found[path.name] = (verdict, time.perf_counter() - began)
        Path(answer).write_text(json.dumps(found), encoding="utf-8")  # what is known if a later file ends the process


main(sys.argv[1], sys.argv[2], sys.argv[3])
