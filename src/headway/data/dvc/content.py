"""Whether what is on disk is what DVC recorded: by size, then by MD5, a block at a time; a folder file by file."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from headway.data.dvc.stages import Output

FOLDER = ".dir"
_BLOCK_BYTES, _HEAD_BYTES = 1 << 20, 512
_TEXT_BYTES = bytes(range(32, 127)) + b"\n\r\t\f\b"
_MAX_NON_TEXT = 0.3
_IGNORED_FOLDERS = (".dvc", ".git", ".hg")
_MAX_NAMES = 3


class Mismatch(NamedTuple):
    """How what is on disk differs from what was recorded, empty where it does not; `gone` where something is absent."""

    message: str = ""
    gone: bool = False


def compare_content(out: Output, path: Path, listed: Mapping[str, str]) -> Mismatch:
    """How a path differs from what was recorded of it; `listed` are the files of a folder, where they are known.

    `path` is that of `out`, or lies in it. Raises ValueError where nothing can be compared.
    """
    if not out.kind.startswith("md5"):
        raise ValueError(f"DVC recorded {out.kind or 'no hash'} of it, which cannot be compared with a file")
    if not path.exists():
        return Mismatch("it is not there", gone=True)
    if not out.digest.endswith(FOLDER):
        return Mismatch(_compare_file(path, out.digest, size_bytes=out.size_bytes, kind=out.kind))
    if path != out.path and listed:
        return Mismatch(_compare_listed_file(path, listed, out))
    there = dict(_file_hashes(out.path, out.kind))
    if _manifest_digest(there) == out.digest:
        return Mismatch()
    if not listed:
        return Mismatch("its files are others, by the digest of their list")
    return Mismatch(_differences(there, listed, out), gone=bool(listed.keys() - there.keys()))


def listed_files(out: Output) -> Mapping[str, str]:
    """The hash of each file of a folder, by the path in it, as recorded or as the cache has it; empty for neither."""
    if out.files:
        return out.files
    name = f"{out.digest[:2]}/{out.digest[2:]}"
    for cache in _cache_folders(out.path):
        for manifest in (cache / "files/md5" / name, cache / name):
            if manifest.is_file():
                return _manifest(manifest.read_bytes(), out.digest)
    return {}


def _manifest(content: bytes, digest: str) -> Mapping[str, str]:
    """The files of a list; none where it is not the list of that digest."""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() + FOLDER != digest:
        return {}
    return {each["relpath"]: each["md5"] for each in json.loads(content)}


def _compare_listed_file(path: Path, listed: Mapping[str, str], out: Output) -> str:
    name = path.relative_to(out.path).as_posix()
    return _compare_file(path, listed[name], kind=out.kind) if name in listed else "it is not among the files recorded"


def _compare_file(path: Path, digest: str, *, kind: str, size_bytes: int = 0) -> str:
    size = path.stat().st_size
    if size_bytes and kind == "md5" and size != size_bytes:
        return f"it has {size:,} bytes, not {size_bytes:,}"
    found = file_md5(path, unix_lines=kind != "md5")
    return "" if found == digest else f"it is md5:{found}"


def _differences(there: Mapping[str, str], listed: Mapping[str, str], out: Output) -> str:
    kinds = {
        "gone": sorted(listed.keys() - there.keys()),
        "changed": sorted(name for name in listed.keys() & there.keys() if listed[name] != there[name]),
        # What `.dvcignore` leaves out is not told from what is new.
        "not recorded": sorted(there.keys() - listed.keys()) if not _has_ignore_file(out.path) else [],
    }
    return "; ".join(
        f"{len(names):,} of its files {what}: {_first_names(names)}" for what, names in kinds.items() if names
    )


def _first_names(names: list[str]) -> str:
    return ", ".join(names[:_MAX_NAMES]) + (" ..." if len(names) > _MAX_NAMES else "")


def _file_hashes(folder: Path, kind: str) -> Iterator[tuple[str, str]]:
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name not in _IGNORED_FOLDERS]
        for name in names:
            path = Path(root, name)
            yield path.relative_to(folder).as_posix(), file_md5(path, unix_lines=kind != "md5")


def _manifest_digest(files: Mapping[str, str]) -> str:
    """The hash that DVC gives to a list of files."""
    listed = [{"md5": digest, "relpath": name} for name, digest in sorted(files.items())]
    return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + FOLDER


def file_md5(path: Path, *, unix_lines: bool = False) -> str:
    """The MD5 of a file in hex; with `unix_lines` as DVC before 3.0 took it, which let texts end their lines by LF."""
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            found.update(block.replace(b"\r\n", b"\n") if unix_lines and _is_text(block[:_HEAD_BYTES]) else block)
    return found.hexdigest()


def _is_text(head: bytes) -> bool:
    return b"\x00" not in head and len(head.translate(None, _TEXT_BYTES)) / len(head) <= _MAX_NON_TEXT


def parent_folders(path: Path) -> Iterator[Path]:
    """The folders over a path, up to the one in which DVC or git was begun."""
    for folder in path.parents:
        yield folder
        if (folder / ".dvc").is_dir() or (folder / ".git").exists():
            return


def _has_ignore_file(path: Path) -> bool:
    return any((folder / ".dvcignore").is_file() for folder in parent_folders(path))


def _cache_folders(path: Path) -> Iterator[Path]:
    """Where DVC keeps what it recorded: in its own folder, or where its configuration says."""
    for folder in parent_folders(path):
        if not (folder / ".dvc").is_dir():
            continue
        for file in (folder / ".dvc/config.local", folder / ".dvc/config"):
            told = configparser.ConfigParser(interpolation=None, strict=False)
            told.read(file, encoding="utf-8")
            if said := told.get("cache", "dir", fallback=""):
                yield file.parent / said
        yield folder / ".dvc/cache"
