"""Check headway itself: is its wheel reproducible, what is in it, and do its dependencies have known vulnerabilities?

usage: python tools/security.py [OUT]
The wheel is built twice, from two copies of the tracked files, and written to OUT (dist/ by default) with its bill of
materials in CycloneDX: the base install, resolved now. pip-audit compares constraints.txt with its database.
Exit 1 if the wheels differ or a vulnerability is known, 3 if a package could not be audited, else 0.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

ROOT = Path(__file__).parent.parent
AUDITOR = "pip-audit==2.10.1"


def main(out: str = "dist") -> int:
    """Build, list and audit; print one line for each."""
    with tempfile.TemporaryDirectory() as folder:
        python = _environment(Path(folder, "env"))
        wheels = [_wheel(python, Path(folder, name)) for name in ("first", "second")]
        same = wheels[0].read_bytes() == wheels[1].read_bytes()
        print(f"reproducible: two builds of {wheels[0].name} {'are equal' if same else 'DIFFER'}", flush=True)
        target = ROOT / out
        target.mkdir(exist_ok=True)
        shutil.copy2(wheels[0], target)
        n_components = _write_bom(wheels[0], Path(folder, "installed"), target / f"{wheels[0].stem}.cdx.json")
        print(f"bill of materials: {n_components} packages of the base install, in {out}/", flush=True)
        audited = _audit(python)
    skipped = [one["name"] for one in audited if "skip_reason" in one]
    vulnerable = [one for one in audited if one.get("vulns")]
    for one in vulnerable:
        fixes = sorted({fix for found in one["vulns"] for fix in found["fix_versions"]})
        ids = ", ".join(found["id"] for found in one["vulns"])
        print(f"vulnerable: {one['name']} {one['version']}: {ids}; fixed in {', '.join(fixes) or 'no version'}")
    print(f"audited: {len(audited) - len(skipped)} of {len(audited)} packages, {len(vulnerable)} with a vulnerability")
    if skipped:
        print(f"NOT AUDITED: {len(skipped)} packages, such as {skipped[0]}: the database did not answer for them")
    return 1 if vulnerable or not same else 3 if skipped else 0


def _environment(folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    subprocess.run([python, "-m", "pip", "--no-input", "install", "--quiet", AUDITOR], check=True)
    return python


def _wheel(python: Path, folder: Path) -> Path:
    """Build the wheel of a copy of the tracked files; its times are those of the last commit."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    at = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, check=True, capture_output=True, text=True)
    command = [
        str(python),
        "-m",
        "pip",
        "--no-input",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder / "out"),
        str(folder),
    ]
    subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": at.stdout.strip()})
    (wheel,) = (folder / "out").glob("*.whl")
    return wheel


def _write_bom(wheel: Path, folder: Path, to: Path) -> int:
    """Write the packages that the base install consists of; return how many there are."""
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "--no-input"]
    subprocess.run([*pip, "install", "--quiet", str(wheel)], check=True)
    packages = json.loads(subprocess.run([*pip, "list", "--format=json"], check=True, capture_output=True).stdout)
    bom = Bom()
    components = {}
    for package in packages:
        purl = PackageURL("pypi", name=package["name"], version=package["version"])
        components[package["name"]] = Component(
            name=package["name"], version=package["version"], purl=purl, bom_ref=str(purl)
        )
    bom.metadata.component = components.pop("headway")
    del components["pip"]
    for component in components.values():
        bom.components.add(component)
    bom.register_dependency(bom.metadata.component, components.values())
    to.write_text(make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1), "utf-8")
    return len(components)


def _audit(python: Path) -> list[dict[str, Any]]:
    """Return what pip-audit knows of each pinned package; it answers with exit code 0 for those it could not find."""
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    run = subprocess.run(
        [python, "-m", "pip_audit", "-r", ROOT / "constraints.txt", *options],
        check=False,
        capture_output=True,
        text=True,
    )
    try:
        found: list[dict[str, Any]] = json.loads(run.stdout)["dependencies"]
    except json.JSONDecodeError:
        reason = run.stderr.strip().splitlines() or ["no output"]
        print(f"pip-audit failed: {reason[-1]}")
        pinned = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if "==" in line]
        return [{"name": line.partition("==")[0], "skip_reason": "pip-audit failed"} for line in pinned]
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
