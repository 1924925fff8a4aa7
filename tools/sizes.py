"""Print the size on disk of each extra: one fresh environment each, in megabytes of its site-packages.

usage: python tools/sizes.py [EXTRA ...]
Without names: the base install and every extra but demo, test, docs, dev and services; `lab,sklearn` measures two
together. pip itself is not counted, bytecode is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
NOT_SHOWN = {"demo", "test", "docs", "dev", "services"}
MEGABYTE = 1e6
PIP = [sys.executable, "-m", "pip", "--no-input"]


def main(extras: list[str]) -> int:
    """Install, measure and print one extra after the other."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shown = [name for name in settings["project"]["optional-dependencies"] if name not in NOT_SHOWN]
    print("| install | MB |\n|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        # setuptools would build in the source folder, and find there what an earlier build left.
        elsewhere = Path(folder, "setup.cfg")
        elsewhere.write_text(f"[build]\nbuild_base = {folder}/build\n", encoding="utf-8")
        environment = {**os.environ, "DIST_EXTRA_CONFIG": str(elsewhere)}
        subprocess.run(
            [*PIP, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(ROOT)], check=True, env=environment
        )
        (wheel,) = Path(folder).glob("*.whl")
        for extra in extras or ["", *shown]:
            brackets = f"[{extra}]" if extra else ""
            packages = installed(f"{wheel}{brackets}", Path(folder, extra or "base"))
            print(f"| `headway{brackets}` | {megabytes(packages):.0f} |", flush=True)
    return 0


def installed(requirement: str, folder: Path) -> Path:
    """Return the site-packages of a new environment in `folder` that holds what pip installs for `requirement`."""
    venv.create(folder, with_pip=False)
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*PIP, "--python", str(folder), "install", "--quiet", *pins, requirement], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    return packages


def megabytes(folder: Path) -> float:
    """Return the size of all files in a folder, in MB of 10^6 bytes."""
    files = (os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
    return sum(os.lstat(file).st_size for file in files) / MEGABYTE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
