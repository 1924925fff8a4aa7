"""A release as an image: the server's packages in one layer, and above it the release, trusted keys and settings.

The image runs as an ordinary user with a read-only root: it writes only below `STATE`, a volume. It holds no private
key and no API key. The release lies in `/models`, where KServe looks for a model in an image.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headway.core import record
from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.plugins import load_sibling
from headway.core.record import digest_of
from headway.core.release import Release
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.core.settings_section import SettingsSection
from headway.deployment import oci
from headway.deployment.oci import LayerFile
from headway.deployment.python_packages import InstalledPackage, compile_sources, stage
from headway.registry.bundle import Bundle
from headway.registry.sign import Trusted
from headway.serving.settings.oidc import OidcSection
from headway.serving.settings.serve import ServeSection
from headway.serving.settings.slo import SloSection
from headway.storage import atomic

USER = 65532
"""User and group of the server: the `nonroot` of distroless images, which needs no entry in /etc/passwd."""
LIBRARIES, PROJECT, MODEL, STATE, SBOM = (
    "/opt/headway/lib",
    "/opt/headway/project",
    "/models",
    "/var/lib/headway",
    "/opt/headway/sbom.cdx.json",
)
PORT = 8080
KEYS = "/etc/headway/keys.toml"
RELEASE_LABEL, EVIDENCE_LABEL = "headway.release", "headway.evidence"
_OF_THIS_MACHINE = frozenset({"host", "port", "keys", "tls_certificate", "tls_key", "tls_client_ca"})
"""Settings of [serve] that name addresses and files of the machine where the image is made."""
_SECTIONS: tuple[type[SettingsSection], ...] = (StoreSection, ServeSection, SloSection, OidcSection)
_READ = re.compile(
    r"usr/(?:local/)?bin/python3\.\d+|(?:usr/)?lib/(?:[^/]+/)?libstdc\+\+\.so\.6|var/lib/dpkg/status(?:\.d/[^/]+)?"
    r"|usr/(?:local/)?lib/python3\.\d+/(?!(?:test|idlelib|tkinter|turtledemo|ensurepip|(?:site|dist)-packages)/).*\.py"
)
"""Files of a base image that say what it holds: interpreters, the C++ runtime of the packages, Debian's packages; and
the modules of the standard library, of which the image has compiled code."""
_UNTIMED = "1970-01-01T00:00:00+00:00"
_CLIENTS = {"postgresql": "postgres", "s3": "s3", "redis": "redis", "rediss": "redis"}
"""The extra with the client of a store, by the scheme of its address."""


class WrittenImage(NamedTuple):
    """An image in its layout: its digest, the size of all of its blobs, its release, and its Python packages."""

    digest: str
    size_bytes: int
    release: str
    packages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What a base image brings: the image, its interpreter with its modules, and the versions of Debian packages."""

    image: oci.BaseImage
    python: str
    modules: dict[str, bytes]
    system: dict[str, str]


def write_image(
    bundle: Bundle,
    config: Config,
    trusted: Trusted,
    operators: Trusted,
    *,
    base: str,
    layout: Path,
    packages: Sequence[InstalledPackage],
) -> WrittenImage:
    """Write the image of a verified release as an OCI layout in a new folder; the same input gives the same digest.

    Parameters
    ----------
    base
        Image with the interpreter of this environment, `LAYOUT@sha256:DIGEST`.
    packages
        Python packages that the image holds, as `find_packages` returns them.

    Raises
    ------
    ConfigError
        If the folder is there, or the base has another processor or another version of Python.
    Refused
        If a blob of the base differs from its digest.
    """
    if layout.exists():
        raise ConfigError("the folder of the image exists", where=str(layout), hint="name a new folder")
    write_sbom = load_sibling(__name__, "sbom", reads="the bill of materials of an image").write_sbom
    below = _open_base(base)
    release, created = bundle.release, _created(bundle.release)
    sbom = write_sbom(release, bundle.digest, packages=packages, system=below.system, created=created)
    files = {f"{MODEL}/{name}": LayerFile(content=content) for name, content in bundle.contents.items()}
    files |= {
        f"{PROJECT}/headway.toml": LayerFile(content=_settings(config).encode()),
        f"{PROJECT}/trusted_keys.txt": LayerFile(content=key_list(trusted)),
        f"{PROJECT}/operator_keys.txt": LayerFile(content=key_list(operators)),
        SBOM: LayerFile(content=sbom),
        STATE: LayerFile(mode=0o750, owner=USER),
    }
    atomic.make_folder(layout.parent)
    with atomic.aside(layout.parent) as aside, tempfile.TemporaryDirectory() as staging:
        new = aside / layout.name
        staged = stage(packages, Path(staging, "packages"), path_in_image=LIBRARIES)
        libraries = {f"{LIBRARIES}/{path}": LayerFile(content=file) for path, file in staged.items()}
        compiled = compile_sources(below.modules, Path(staging, "base"))
        libraries |= {f"/{path}": LayerFile(content=file) for path, file in compiled.items()}
        layers = [oci.write_layer(new, libraries), oci.write_layer(new, files)]
        digest = oci.write_image(
            new,
            layers,
            base=below.image,
            run=_run(below.python),
            created=created,
            annotations=labels(bundle, base=below.image.digest),
            name=release.name,
        )
        size = oci.image_bytes(new)
        new.rename(layout)
    return WrittenImage(digest, size, bundle.digest, len(packages))


def store_extras(store: StoreSection) -> list[str]:
    """Return the extras that a server needs for the stores of a project."""
    addresses = (store.state, store.blobs, store.logs, store.feed, store.online)
    schemes = {address.partition("://")[0] for address in addresses}
    return sorted({extra for scheme, extra in _CLIENTS.items() if scheme in schemes})


def _created(release: Release) -> str:
    """Return when a release was made, as RFC 3339 writes it: registries read nothing else."""
    try:
        time = datetime.fromisoformat(release.made_at or _UNTIMED)
    except ValueError:
        return _UNTIMED
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()


def labels(bundle: Bundle, *, base: str) -> dict[str, str]:
    """Return the labels of an image: its release, the evidence that this was released on, and its base image."""
    release = bundle.release
    evidence = ",".join(digest_of(record.write(evidence)) for evidence in release.evidence)
    return {
        "org.opencontainers.image.title": release.name,
        "org.opencontainers.image.created": _created(release),
        "org.opencontainers.image.base.digest": base,
        RELEASE_LABEL: bundle.digest,
        EVIDENCE_LABEL: evidence,
        "headway.sbom": SBOM,
    }


def _run(python: str) -> dict[str, Any]:
    """Return what a container of the image runs, and as whom."""
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONPATH": LIBRARIES,
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "HOME": "/nonexistent",  # the default of [trust] publisher_key lies in it, and must not lie in the store
        "LOGNAME": "headway",  # who acts, in the history: the user of the image has no name
    }
    return {
        "User": f"{USER}:{USER}",
        "WorkingDir": STATE,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Entrypoint": [python, "-m", "headway.cli"],
        "Cmd": ["serve", MODEL, "--project", PROJECT],
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "Volumes": {STATE: {}},
        "StopSignal": "SIGTERM",
    }


def _open_base(reference: str) -> _Base:
    image = oci.open_base(reference)
    found = oci.files_of(image, _READ)
    wanted = f"python3.{sys.version_info.minor}"
    interpreters = sorted(path for path in found if "/bin/" in path)
    python = next((path for path in interpreters if path.endswith(f"/{wanted}")), "")
    if not python:
        there = ", ".join(Path(path).name for path in interpreters) or "no Python"
        raise ConfigError(
            f"the base image has {there}, and the packages of this environment are for {wanted}",
            where=reference,
            hint=f"take a base image with {wanted}, or run headway with its Python",
        )
    if not any(path.endswith("libstdc++.so.6") for path in found):
        raise ConfigError(
            "the base image has no libstdc++.so.6, which the packages need",
            where=reference,
            hint="take a base image with the package libstdc++6, such as one of tools/base_image.py",
        )
    system: dict[str, str] = {}
    for path, content in found.items():
        if path.startswith("var/"):
            system |= _debian_packages(content.decode("utf-8", "replace"))
    library = f"{python.rpartition('/bin/')[0]}/lib/{wanted}/"
    modules = {path: content for path, content in found.items() if path.startswith(library)}
    return _Base(image=image, python=f"/{python}", modules=modules, system=dict(sorted(system.items())))


def _debian_packages(status: str) -> dict[str, str]:
    """Return name and version of the packages that dpkg lists as installed."""
    found: dict[str, str] = {}
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Version): (.*)$", paragraph, re.MULTILINE))
        if "Package" in fields and fields.get("Status", "installed").endswith("installed"):
            found[fields["Package"]] = fields.get("Version", "")
    return found


def _settings(config: Config) -> str:
    serve = {"host": "0.0.0.0", "port": PORT, "keys": KEYS, "log_format": "json"}
    return server_settings(config, state=STATE, serve=serve)


def server_settings(config: Config, *, state: str, serve: Mapping[str, object]) -> str:
    """Return headway.toml of a server elsewhere: how to serve, as the project declares it, without its machine's part.

    `state` is the folder of its state, and `serve` has settings of [serve] that the project may replace.
    """
    lines = [f"[project]\nname = {_toml(config[ProjectSection].name)}\nstate = {_toml(state)}\n"]
    lines.append('[trust]\ntrusted_keys = "trusted_keys.txt"\noperator_keys = "operator_keys.txt"\n')
    if config[StoreSection].state:  # the folder of the project is read-only
        lines[-1] += f"last_seen = {_toml(f'{state}/last_seen.json')}\n"
    for kind in _SECTIONS:
        section, default = config[kind], kind()
        values = {
            field: getattr(section, field)
            for field in section.__struct_fields__
            if getattr(section, field) != getattr(default, field)
            and not (kind is ServeSection and field in _OF_THIS_MACHINE)
        }
        if kind is ServeSection:
            values = {**serve, **values}
        if values:
            lines.append(
                "\n".join([f"[{kind.table}]", *(f"{field} = {_toml(value)}" for field, value in values.items()), ""])
            )
    return "\n".join(lines)


def _toml(value: object) -> str:
    """Format a text, number, truth value or list of them; JSON writes these as TOML does."""
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def key_list(trusted: Trusted) -> bytes:
    return "".join(f"{key} {comment}".rstrip() + "\n" for key, comment in sorted(trusted.keys.items())).encode()
