"""Small base images and packages for the tests of this folder, and readers of what an image holds."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

from headway.deployment import oci
from headway.deployment.oci import LayerFile
from headway.deployment.python_packages import InstalledPackage, find_packages

PYTHON = f"/usr/bin/python3.{sys.version_info.minor}"
RUNTIME = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6"
STATUS = (
    "Package: libc6\nStatus: install ok installed\nVersion: 2.41-12\n\n"
    "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
)


def base_layout(folder: Path, *, files: dict[str, bytes] | None = None, run: dict[str, object] | None = None) -> str:
    """Write a base image whose only layer has an interpreter, the C++ runtime and a list of packages."""
    content = (
        {PYTHON: b"\x7fELF", RUNTIME: b"\x7fELF", "/var/lib/dpkg/status": STATUS.encode()} if files is None else files
    )
    layer = oci.write_layer(folder, {name: LayerFile(content=text, mode=0o755) for name, text in content.items()})
    made = {"created": "2026-01-01T00:00:00Z", "annotations": {}, "name": "base"}
    digest = oci.write_image(folder, [layer], base=None, run=run or {"User": "root", "Env": ["A=b"]}, **made)
    return f"{folder}@{digest}"


def small_packages() -> list[InstalledPackage]:
    """Return two packages of the base install, which take no time to compile."""
    return [package for package in find_packages() if package.name in ("packaging", "mdurl")]


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def manifest_of(layout: Path) -> dict[str, Any]:
    index = json.loads((layout / "index.json").read_bytes())
    return json.loads(blob(layout, index["manifests"][0]["digest"]))


def config_of(layout: Path) -> dict[str, Any]:
    return json.loads(blob(layout, manifest_of(layout)["config"]["digest"]))


def members(layout: Path, *, layer: int) -> dict[str, tarfile.TarInfo]:
    """Return what a layer holds, by path."""
    with tarfile.open(fileobj=io.BytesIO(blob(layout, manifest_of(layout)["layers"][layer]["digest"]))) as archive:
        return {member.name: member for member in archive}


def extracted(layout: Path, folder: Path, *, layer: int) -> Path:
    """Extract a layer to a folder."""
    with tarfile.open(fileobj=io.BytesIO(blob(layout, manifest_of(layout)["layers"][layer]["digest"]))) as archive:
        archive.extractall(folder, filter="tar")
    return folder
