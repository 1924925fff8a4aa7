"""Write constraints.txt: an exact version of everything that `headway[dev,services]` needs, for each Python given.

usage: python tools/constraints.py python3.11 python3.12 python3.13 python3.14
The first Python decides. The others take its versions where they can, and get lines of their own where they cannot.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE = ROOT / "constraints.txt"
# What builds headway and the packages that come as sources is pinned as well.
WANTED = [".[dev,services]", "setuptools", "wheel"]
HEAD = "# Exact versions of all that `headway[dev,services]` needs, for Python {}. Written by `make constraints`.\n"

Pins = dict[str, str]


def main(pythons: list[str]) -> int:
    """Resolve with each Python, merge and write."""
    if not pythons:
        print(__doc__)
        return 2
    found: dict[str, Pins] = {}
    for python in pythons:
        version = _output(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
        print(f"resolving with Python {version} (about a minute) ...", flush=True)
        first = next(iter(found.values()), {})
        found[version] = _resolve(python, first) or _resolve(python, {})
        if not found[version]:
            print(f"Python {version} finds no set of packages that fits: {FILE.name} is unchanged")
            return 1
    FILE.write_text(HEAD.format(", ".join(found)) + "\n".join(merge(found)) + "\n", encoding="utf-8")
    print(f"wrote {FILE.name}: {len(merge(found))} lines")
    return 0


def merge(found: dict[str, Pins]) -> list[str]:
    """Return the lines of a constraints file: one for a package that is the same everywhere, else one per Python.

    >>> merge({"3.11": {"a": "1", "b": "1"}, "3.13": {"a": "1", "b": "2", "c": "3"}})
    ['a==1', 'b==1; python_version == "3.11"', 'b==2; python_version == "3.13"', 'c==3']
    """
    lines = []
    for name in sorted({name for pins in found.values() for name in pins}):
        versions = {python: pins[name] for python, pins in found.items() if name in pins}
        if len(set(versions.values())) == 1:
            lines.append(f"{name}=={next(iter(versions.values()))}")
        else:
            lines += [f'{name}=={pin}; python_version == "{python}"' for python, pin in versions.items()]
    return lines


def _resolve(python: str, pins: Pins) -> Pins:
    """Return the versions that pip would install, or none if it cannot keep these pins."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "pins.txt").write_text("\n".join(merge({"": pins})), encoding="utf-8")
        _output(python, "-m", "venv", str(work / "venv"))
        pip = [str(work / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        arguments = ["--report", str(work / "report.json"), "-c", str(work / "pins.txt"), *WANTED]
        if subprocess.run([*pip, *arguments], cwd=ROOT, check=False).returncode:
            return {}
        report = json.loads((work / "report.json").read_text(encoding="utf-8"))
    chosen = (item["metadata"] for item in report["install"])
    found = {re.sub(r"[-_.]+", "-", item["name"]).lower(): item["version"] for item in chosen}
    found.pop("headway")
    return found


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
