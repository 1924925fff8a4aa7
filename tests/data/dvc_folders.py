"""Folders with files as DVC 3.67 writes them; `test_real_dvc.py` runs the command itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

FLIGHTS = "at,hour,late\n" + "".join(f"2013-01-{day:02},{day % 24},{day % 2}\n" for day in range(1, 29))


def md5(content: str | bytes) -> str:
    """The MD5 of a text or of bytes, in hex."""
    return hashlib.md5(content.encode() if isinstance(content, str) else content).hexdigest()


def dvc_init(folder: Path) -> Path:
    """Create a folder as `dvc init` does."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text("")
    return folder


def write_file(file: Path, content: str) -> Path:
    """A file with a content, its folder made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode())
    return file


def pointer(file: Path, content: str, *, head: str = "") -> Path:
    """Write the `.dvc` file of `dvc add` for that content; the file itself need not exist."""
    text = f"{head}outs:\n- md5: {md5(content)}\n  size: {len(content.encode())}\n  hash: md5\n  path: {file.name}\n"
    return write_file(file.with_name(f"{file.name}.dvc"), text)


def listing(files: dict[str, str]) -> tuple[bytes, str]:
    """Return the list that DVC stores of the files of a folder, and its digest."""
    rows = [{"md5": md5(text), "relpath": name} for name, text in sorted(files.items())]
    content = json.dumps(rows).encode()
    return content, f"{md5(content)}.dir"


def folder_pointer(folder: Path, files: dict[str, str], *, cache: Path | None = None) -> str:
    """Write a folder with files, its `.dvc` file, and the list in the cache; return the digest."""
    for name, text in files.items():
        write_file(folder / name, text)
    content, digest = listing(files)
    size = sum(len(text) for text in files.values())
    record = f"outs:\n- md5: {digest}\n  size: {size}\n  nfiles: {len(files)}\n  hash: md5\n  path: {folder.name}\n"
    write_file(folder.with_name(f"{folder.name}.dvc"), record)
    if cache is not None:
        write_file(cache / digest[:2] / digest[2:], content.decode())
    return digest


def lock(folder: Path, stages: str) -> Path:
    """A `dvc.lock` with these stages."""
    return write_file(folder / "dvc.lock", f"schema: '2.0'\nstages:\n{stages}")


def made(content: str, *, name: str = "prepare", path: str = "flights.csv") -> str:
    """A stage of `dvc.lock` that makes a file from one of the raw data and a parameter."""
    return f"""  {name}:
    cmd: python prepare.py --year 2013
    deps:
    - path: prepare.py
      hash: md5
      md5: {md5("code")}
      size: 4
    - path: raw/flights.json
      hash: md5
      md5: {md5("raw")}
      size: 3
    params:
      params.yaml:
        year: 2013
    outs:
    - path: {path}
      hash: md5
      md5: {md5(content)}
      size: {len(content)}
"""
