"""A server of one release for a small Linux machine without a network: the wheels that it needs, and the release."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

import headway
from headway.core.config import Config
from headway.core.errors import ConfigError, EngineError
from headway.core.release import Release
from headway.core.settings.store import StoreSection
from headway.deployment.image import key_list, server_settings, store_extras
from headway.registry.bundle import Bundle
from headway.registry.sign import Trusted

WHEELS, RELEASE = "wheels", "release"
MACHINES = {"x86_64": 5, "aarch64": 17}
"""The oldest glibc 2.x for which there are wheels of a machine."""
_GLIBC = 28
_UNUSED_BY_SERVERS = frozenset({"onnxruntime"})
"""Packages that headway requires, and a server only if its engine imports them."""
# Open the model as a server does, and print the packages that headway's engines import, also those inside functions.
_IMPORTS = """
import ast, json, sys
from pathlib import Path
from headway.core.plugins import load_engine
load_engine(sys.argv[1])(Path(sys.argv[2]).read_bytes(), json.loads(sys.argv[3]))
found = set()
for name, module in list(sys.modules.items()):
    if name.startswith("headway.engines.") and (module.__file__ or "").endswith(".py"):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
print(json.dumps(sorted(found - sys.stdlib_module_names - {"headway"})))
"""
_INSTALL = """\
#!/bin/sh
# Install the server of the release next to this file, without a network: sh install.sh [FOLDER]; default: venv.
set -eu
cd "$(dirname "$0")"
to=${1:-venv}
${PYTHON:-python@python@} -m venv "$to"
"$to/bin/python" -m pip install --quiet --no-index --no-deps --require-hashes --find-links wheels -r requirements.txt
echo "next: cd $PWD && $to/bin/headway serve ./release --project ."
"""


def wheel_files(
    bundle: Bundle,
    config: Config,
    trusted: Trusted,
    operators: Trusted,
    *,
    machine: str,
    python: str,
    wheel: Path | None = None,
) -> dict[str, bytes]:
    """Return the files of a server of a verified release: wheels, the release, its project and an installer.

    Parameters
    ----------
    machine
        One of `MACHINES`.
    python
        Version of Python there, such as 3.11.
    wheel
        headway's own wheel for that machine; default: that of this version, downloaded.

    Raises
    ------
    ConfigError
        If a package has no wheel for the machine, or the arguments name none.
    EngineError
        If the model cannot be opened here.
    """
    if machine not in MACHINES or not re.fullmatch(r"3\.\d{1,2}", python):
        known = f"--machine {' or '.join(MACHINES)}, --python 3.13"
        raise ConfigError(f"no wheels are known of '{machine}' and Python '{python}'", where="export edge", hint=known)
    if wheel:
        _expect_wheel(wheel, machine=machine)
    needed = needed_packages(bundle.release, bundle.model, config, machine=machine, python=python)
    if wheel:
        needed.pop("headway")
    with tempfile.TemporaryDirectory() as folder:
        _download(needed.values(), Path(folder), machine=machine, python=python)
        files = sorted([*Path(folder).iterdir(), *([wheel] if wheel else [])])
        wheels = {file.name: file.read_bytes() for file in files}
    return {
        **{f"{WHEELS}/{name}": content for name, content in wheels.items()},
        **{f"{RELEASE}/{name}": content for name, content in bundle.contents.items()},
        "headway.toml": server_settings(config, state="state", serve={}).encode(),
        "trusted_keys.txt": key_list(trusted),
        "operator_keys.txt": key_list(operators),
        "requirements.txt": _requirements(wheels).encode(),
        "install.sh": _INSTALL.replace("@python@", python).encode(),
    }


def _expect_wheel(wheel: Path, *, machine: str) -> None:
    """Raise ConfigError unless a file is headway's wheel for Linux on a machine."""
    hint = "on such a machine, in a checkout: python -m pip wheel --no-deps -w dist ."
    try:
        name, _, _, tags = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename:
        name, tags = canonicalize_name(""), frozenset()
    if not wheel.is_file() or name != "headway":
        raise ConfigError("the file is not a wheel of headway", where=str(wheel), hint=hint)
    if not any("linux" in tag.platform and tag.platform.endswith(machine) for tag in tags):
        raise ConfigError(f"the wheel is not for Linux on {machine}", where=str(wheel), hint=hint)


def needed_packages(release: Release, model: bytes, config: Config, *, machine: str, python: str) -> dict[str, str]:
    """Return the packages that a server of the release imports, by name, each as pip requires it.

    They are headway with what it requires, and what the engine of the model imports. Versions are those of this
    environment.
    """
    environment: dict[str, Any] = {
        **default_environment(),
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_system": "Linux",
        "platform_machine": machine,
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    used = _imported_by_engine(release, model)
    by_module = importlib.metadata.packages_distributions()
    pending = [("headway", tuple(store_extras(config[StoreSection])), "")]
    pending += [(name, (), "") for module in used for name in by_module.get(module, ())]
    found: dict[str, str] = {}
    while pending:
        name, extras, specifier = pending.pop()
        name = canonicalize_name(name)
        if name in found or (name in _UNUSED_BY_SERVERS and name not in used):
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:  # needed there and not here
            found[name] = f"{name}{specifier}"
            continue
        found[name] = f"{name}=={distribution.version}"
        for line in distribution.requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({**environment, "extra": extra}) for extra in ("", *extras)):
                pending.append((requirement.name, tuple(requirement.extras), str(requirement.specifier)))
    return found


def _imported_by_engine(release: Release, model: bytes) -> list[str]:
    variant = release.variant
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model"
        file.write_bytes(model)
        command = [sys.executable, "-c", _IMPORTS, variant.engine, str(file), json.dumps(variant.settings)]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
    if run.returncode:
        last = (run.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(f"the model cannot be opened here: {last}", where=release.name, hint="headway verify")
    modules: list[str] = json.loads(run.stdout)
    return modules


def _download(requirements: Iterable[str], folder: Path, *, machine: str, python: str) -> None:
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(_GLIBC, MACHINES[machine] - 1, -1)]
    tags += [
        f"manylinux2014_{machine}",
        *([f"manylinux2010_{machine}", f"manylinux1_{machine}"] if machine == "x86_64" else []),
    ]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, "--dest", str(folder)]
    platforms = [word for tag in tags for word in ("--platform", tag)]
    run = subprocess.run(
        [*pip, *target, *platforms, *sorted(requirements)], check=False, capture_output=True, text=True
    )
    if run.returncode:
        lines = [line for line in run.stderr.splitlines() if line.startswith("ERROR:")] or run.stderr.splitlines()
        raise ConfigError(
            f"pip download failed: {(lines or ['no message'])[-1].removeprefix('ERROR: ')}",
            where=f"{machine}, Python {python}",
            hint=f"--python of another version, or --wheel with a wheel of headway {headway.__version__}",
        )


def _requirements(wheels: dict[str, bytes]) -> str:
    lines = []
    for name, content in wheels.items():
        distribution, version, *_ = name.split("-")
        lines.append(f"{distribution}=={version} --hash=sha256:{hashlib.sha256(content).hexdigest()}\n")
    return "".join(lines)
