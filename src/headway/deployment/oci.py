"""Images in the layout of the Open Container Initiative: read a base, add layers, write the result, without a daemon.

The same input gives the same bytes: files are sorted, have no time and belong to root, and gzip stores no time. See the
specification at https://github.com/opencontainers/image-spec (image-layout.md, manifest.md, config.md).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import platform
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import msgspec

from headway.core.errors import ConfigError, Refused
from headway.core.record import digest_of
from headway.storage import atomic

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_LAYERS = (LAYER, "application/vnd.oci.image.layer.v1.tar")
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_COPY_HINT = "skopeo copy docker://IMAGE oci:FOLDER; its digest is printed by: skopeo inspect oci:FOLDER"
_CHUNK = 1 << 20
GZIP_LEVEL = 6

Json = dict[str, Any]


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A layer as its blob: digest and size of the compressed bytes, and digest of the tar file in it."""

    digest: str
    size: int
    diff_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """An image for this machine in a layout, whose manifest and configuration were verified by their digests."""

    layout: Path
    digest: str
    manifest: Json
    config: Json

    @property
    def layers(self) -> list[Json]:
        """The descriptors of the layers, lowest first."""
        return cast(list[Json], self.manifest["layers"])


def architecture() -> str:
    """Return the architecture of this machine by its name in images, such as `amd64`."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def open_base(reference: str) -> BaseImage:
    """Open `LAYOUT@sha256:DIGEST`; of an index of several platforms, the image for this machine.

    Raises ConfigError for a reference that is not one, and Refused for bytes that differ from a digest.
    """
    folder, at, digest = reference.rpartition("@")
    if not at or not _DIGEST.fullmatch(digest):
        raise ConfigError(
            f"{reference!r} names no base image by its digest",
            where="--base",
            hint="FOLDER@sha256:... for an OCI layout in FOLDER",
        )
    layout = Path(folder)
    index = _json(_read(layout / "index.json", hint=_COPY_HINT), where=str(layout / "index.json"))
    found = [entry for entry in _list(index, "manifests", layout) if entry.get("digest") == digest]
    if not found:
        known = ", ".join(str(entry.get("digest")) for entry in index["manifests"]) or "none"
        raise ConfigError(f"the layout has no image {digest}", where=f"{layout}, with: {known}", hint=_COPY_HINT)
    manifest = _json(read_blob(layout, digest), where=f"{layout}, {digest}")
    if "manifests" in manifest:
        digest = _platform_digest(manifest, layout)
        manifest = _json(read_blob(layout, digest), where=f"{layout}, {digest}")
    for layer in _list(manifest, "layers", layout):
        if layer.get("mediaType") not in _LAYERS:
            raise ConfigError(
                f"a layer of the base image has the type {layer.get('mediaType')!r}, not one of OCI with gzip",
                where=f"{layout}, {digest}",
                hint=_COPY_HINT,
            )
    config = _json(read_blob(layout, _text(manifest.get("config"), "digest", layout)), where=f"{layout}, {digest}")
    if (config.get("os"), config.get("architecture")) != ("linux", architecture()):
        raise ConfigError(
            f"the base image is for {config.get('os')}/{config.get('architecture')}, this machine linux/"
            f"{architecture()}",
            where=f"{layout}, {digest}",
            hint=f"skopeo copy --override-arch {architecture()} docker://IMAGE oci:FOLDER",
        )
    _list(config.get("rootfs"), "diff_ids", layout)
    return BaseImage(layout=layout, digest=digest, manifest=manifest, config=config)


def _platform_digest(index: Json, layout: Path) -> str:
    wanted = {"os": "linux", "architecture": architecture()}
    for entry in _list(index, "manifests", layout):
        platform_of = entry.get("platform") or {}
        if {name: platform_of.get(name) for name in wanted} == wanted:
            return _text(entry, "digest", layout)
    raise ConfigError(f"the base image has no form for linux/{architecture()}", where=str(layout), hint=_COPY_HINT)


def read_blob(layout: Path, digest: str) -> bytes:
    """Return the bytes of a digest in a layout; raises Refused if they have another."""
    content = _read(_blob(layout, digest), hint=_COPY_HINT)
    if digest_of(content) != digest:
        raise Refused(f"the blob {digest} was changed", where=str(layout), hint=_COPY_HINT)
    return content


def files_of(base: BaseImage, wanted: re.Pattern[str]) -> dict[str, bytes]:
    """Return the files of an image whose paths match, without a leading `/`; a link has its target as content.

    A later layer replaces the files of an earlier one; deletions are not followed.
    """
    found: dict[str, bytes] = {}
    for layer in base.layers:
        with tarfile.open(fileobj=io.BytesIO(read_blob(base.layout, layer["digest"]))) as archive:
            members = ((member.name.removeprefix("./").lstrip("/"), member) for member in archive)
            found |= {name: _content(archive, member) for name, member in members if wanted.fullmatch(name)}
    return found


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(member) if member.isreg() else None
    return opened.read() if opened else member.linkname.encode()


class LayerFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder of a layer: bytes, or the path to read them from; neither is a folder."""

    content: bytes | Path | None = None
    mode: int = 0o644
    owner: int = 0


def write_layer(layout: Path, files: Mapping[str, LayerFile]) -> Layer:
    """Write a layer with these files, by absolute path; their parent folders are added."""
    entries = {**_parents(files), **files}
    plain = _Hashing()
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    unnamed = blobs / ".layer"
    with unnamed.open("wb") as raw:
        packed = _Hashing(raw)
        target = cast(BinaryIO, packed)
        with gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=GZIP_LEVEL, mtime=0) as zipped:
            plain.target = cast(BinaryIO, zipped)
            _write_tar(cast(BinaryIO, plain), entries)
    layer = Layer(digest=packed.digest, size=packed.size, diff_id=plain.digest)
    unnamed.replace(_blob(layout, layer.digest))
    return layer


def _write_tar(target: BinaryIO, entries: Mapping[str, LayerFile]) -> None:
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(entries):
            _add(archive, name.lstrip("/"), entries[name])


def _parents(files: Mapping[str, LayerFile]) -> dict[str, LayerFile]:
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents if str(parent) not in ("/", ".")}
    return {folder: LayerFile(mode=0o755) for folder in folders}


def _add(archive: tarfile.TarFile, name: str, file: LayerFile) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid, info.mtime = file.mode, file.owner, file.owner, 0
    if file.content is None:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif isinstance(file.content, Path):
        with file.content.open("rb") as opened:
            info.size = os.fstat(opened.fileno()).st_size
            archive.addfile(info, opened)
    else:
        info.size = len(file.content)
        archive.addfile(info, io.BytesIO(file.content))


class _Hashing:
    """Writes to a target, and takes the SHA-256 and the size of what it writes."""

    def __init__(self, target: BinaryIO | None = None) -> None:
        self.target = target
        self.size = 0
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Digest of the bytes so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, content: bytes) -> int:
        """Write bytes; return how many."""
        self._hash.update(content)
        self.size += len(content)
        if self.target is not None:
            self.target.write(content)
        return len(content)

    def flush(self) -> None:
        """Do nothing: the target is flushed where it is closed."""


def write_image(
    layout: Path,
    layers: Sequence[Layer],
    *,
    base: BaseImage | None,
    run: Mapping[str, object],
    created: str,
    annotations: Mapping[str, str],
    name: str,
) -> str:
    """Write manifest, configuration and index of an image whose new layers are in the layout; return its digest.

    Parameters
    ----------
    run
        Fields of the configuration's `config`, such as User and Entrypoint; they replace those of the base.
    created
        Time of its making, RFC 3339.
    annotations
        Annotations of the manifest, which are labels of the configuration as well.
    name
        Reference of the image in the index.
    """
    below: list[Json] = base.layers if base else []
    if base:
        for layer in below:
            _copy_blob(base.layout, layout, layer["digest"])
    inherited: Json = dict(base.config) if base else {"os": "linux", "architecture": architecture()}
    diff_ids = [*inherited.get("rootfs", {}).get("diff_ids", ()), *(layer.diff_id for layer in layers)]
    history = [
        *inherited.get("history", ()),
        *({"created": created, "created_by": "headway export oci"} for _ in layers),
    ]
    config = {
        **inherited,
        "created": created,
        "config": {**inherited.get("config", {}), **run, "Labels": dict(annotations)},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }
    described = [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size} for layer in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _save_blob(layout, _bytes(config), CONFIG),
        "layers": [*below, *described],
        "annotations": dict(annotations),
    }
    entry = _save_blob(layout, _bytes(manifest), MANIFEST)
    entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    atomic.create(layout / "index.json", _bytes(index))
    atomic.create(layout / "oci-layout", _LAYOUT)
    return cast(str, entry["digest"])


def _bytes(value: object) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def _save_blob(layout: Path, content: bytes, media_type: str) -> Json:
    digest = digest_of(content)
    path = _blob(layout, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.create(path, content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _copy_blob(source: Path, layout: Path, digest: str) -> None:
    path = _blob(layout, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.create(path, read_blob(source, digest))


def _blob(layout: Path, digest: str) -> Path:
    if not _DIGEST.fullmatch(digest):
        raise Refused(f"{digest!r} is not a digest of an image", where=str(layout), hint=_COPY_HINT)
    return layout / "blobs/sha256" / digest.removeprefix("sha256:")


def image_bytes(layout: Path) -> int:
    """Return the size of all blobs of a layout, which is what a registry stores and a node pulls."""
    return sum(file.stat().st_size for file in _blob_files(layout))


def _blob_files(layout: Path) -> Iterator[Path]:
    return (layout / "blobs/sha256").iterdir()


def _read(path: Path, *, hint: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}", where=str(path.parent), hint=hint) from error


def _json(content: bytes, *, where: str) -> Json:
    try:
        return msgspec.json.decode(content, type=Json)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError("the layout holds a file that is not a JSON object", where=where, hint=_COPY_HINT) from error


def _list(value: object, field: str, layout: Path) -> list[Json]:
    found = value.get(field) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise ConfigError(f"the image has no list {field!r}", where=str(layout), hint=_COPY_HINT)
    return found


def _text(value: object, field: str, layout: Path) -> str:
    found = value.get(field) if isinstance(value, dict) else None
    if not isinstance(found, str):
        raise ConfigError(f"the image has no {field!r}", where=str(layout), hint=_COPY_HINT)
    return found
