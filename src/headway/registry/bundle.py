"""Releases as folders: `release.json`, `release.sig`, and the files that `release.json` lists by digest.

Each file is read once, and the bytes that were verified are the bytes that are used, so a file cannot change between
check and use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from msgspec.structs import replace

from headway.core import record
from headway.core.arrays import Floats
from headway.core.contracts import Engine, Signed
from headway.core.errors import ConfigError, Refused, StoreError
from headway.core.plugins import load_engine
from headway.core.record import digest_of
from headway.core.release import Release, SelfTest
from headway.core.texts import text_codes
from headway.core.variant import Signature
from headway.engines.formats.external_data import external_files
from headway.features.rules import expect_valid
from headway.registry.sign import COPY_HINT, Publisher, Trusted, verify
from headway.storage import atomic

RELEASE = "release.json"
SEAL = "release.sig"
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified release: its record, the bytes of its files, its digest, the key that signed it, and its signature."""

    release: Release
    files: Mapping[str, bytes]
    digest: str
    key: str
    signed: Signed = Signed(content=b"", signature=b"")  # noqa: RUF009 - frozen

    @property
    def model(self) -> bytes:
        """The bytes of the variant's artifact."""
        wanted = self.release.variant.artifact.digest
        return next(self.files[name] for name, digest in self.release.files.items() if digest == wanted)

    @property
    def contents(self) -> Mapping[str, bytes]:
        """The bytes of every file of its folder, with its record and its signature."""
        return {**self.files, RELEASE: self.signed.content, SEAL: self.signed.signature}


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """A signed release before it is written: every file of its folder, and its digest."""

    contents: Mapping[str, bytes]
    digest: str


def sign_release(release: Release, files: Mapping[str, bytes], publisher: Publisher) -> SignedRelease:
    """Sign a release with its files; `files` of the record becomes their digests.

    Raises Refused if its model is not among them, or keeps values in a file that is not signed with it.
    """
    for name in files:
        _expect_plain(name)
    listed = replace(release, files={name: digest_of(content) for name, content in files.items()})
    _expect_complete(listed, files)
    signed = publisher.sign(record.write(listed))
    contents = {**files, RELEASE: signed.content, SEAL: signed.signature}
    return SignedRelease(MappingProxyType(contents), digest_of(signed.content))


def received_release(contents: Mapping[str, bytes], digest: str) -> SignedRelease:
    """Return the files of a release that another machine saved, to be written to a folder and verified there.

    Raises Refused for a name that is not that of a plain file.
    """
    for name in contents.keys() - {RELEASE, SEAL}:
        _expect_plain(name)
    return SignedRelease(MappingProxyType({RELEASE: b"", **contents}), digest)


def save_bundle(folder: Path, sealed: SignedRelease) -> None:
    """Write the folder of a release atomically; saving the same release again repairs files that differ.

    Raises StoreError if the folder holds anything else: a release is never replaced.
    """
    try:
        atomic.make_folder(folder.parent)
        with atomic.aside(folder.parent) as aside:
            new = aside / folder.name
            new.mkdir()
            for name, content in sealed.contents.items():
                atomic.create(new / name, content)
            atomic.sync(new)
            _move(new, folder, sealed)
            atomic.sync(folder.parent)
    except OSError as error:
        raise StoreError(f"cannot write the release: {error.strerror}", where=str(folder)) from error


def _move(new: Path, folder: Path, sealed: SignedRelease) -> None:
    """Rename the new folder; the system refuses if the target exists and is not empty."""
    try:
        os.rename(new, folder)
    except OSError:
        if not folder.is_dir():
            raise
        _repair(new, folder, sealed)


def _repair(new: Path, folder: Path, sealed: SignedRelease) -> None:
    """Replace the files that differ in a folder of the same release."""
    if _content(folder / RELEASE) != sealed.contents[RELEASE]:
        raise StoreError("this folder holds something else", where=str(folder), hint="write to a new one") from None
    for name, content in sealed.contents.items():
        if _content(folder / name) != content:
            (new / name).replace(folder / name)
    atomic.sync(folder)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def open_bundle(folder: Path, trusted: Trusted) -> Bundle:
    """Open the release in a folder and verify every byte.

    Raises Refused, which names a file that was changed, is missing or is not listed, or an unknown key.
    """
    there = _entries(folder)
    for name in (RELEASE, SEAL):
        _expect_file(there, name, folder)
    signed = Signed(content=_bytes(folder / RELEASE), signature=_bytes(folder / SEAL))
    key = verify(signed, trusted, subject=RELEASE, where=str(folder))
    release = record.read(Release, signed.content)
    _expect_listed(there, release, folder)
    files = {name: _verified(folder / name, digest) for name, digest in release.files.items()}
    _expect_complete(release, files)
    return Bundle(release, MappingProxyType(files), digest_of(signed.content), key, signed)


def _expect_complete(release: Release, files: Mapping[str, bytes]) -> None:
    """Raise Refused unless the model is one of the files, with all of its weights."""
    artifact = release.variant.artifact
    name = next((name for name, digest in release.files.items() if digest == artifact.digest), None)
    if name is None:
        raise Refused(f"no file of the release is its model {artifact.digest}", where=release.name, hint=COPY_HINT)
    others = external_files(files[name]) if artifact.format == "onnx" else ()
    if others:
        raise Refused(
            f"the model keeps its weights in another file, which nothing signs: {others[0]!r}",
            where=release.name,
            hint="import the graph again from its path, which embeds them",
        )


def _entries(folder: Path) -> dict[str, bool]:
    """List the names in a folder, each with whether it is a regular file (not a folder, link or pipe)."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    except OSError as error:
        raise Refused(f"the release folder cannot be read: {error.strerror}", where=str(folder)) from error


def _expect_listed(there: Mapping[str, bool], release: Release, folder: Path) -> None:
    for name in release.files:
        _expect_plain(name)
        _expect_file(there, name, folder)
    extra = sorted(there.keys() - release.files.keys() - {RELEASE, SEAL})
    if extra:
        raise Refused(f"{extra[0]!r} is not a file of this release", where=str(folder), hint=COPY_HINT)


def _expect_plain(name: str) -> None:
    if not _PLAIN.fullmatch(name) or name in {RELEASE, SEAL}:
        raise Refused(f"a release cannot hold a file named {name!r}", hint="letters, digits, _ . -, and no folders")


def _expect_file(there: Mapping[str, bool], name: str, folder: Path) -> None:
    if name not in there:
        raise Refused(f"{name} is missing", where=str(folder), hint=COPY_HINT)
    if not there[name]:
        raise Refused(f"{name} is a link or a folder, not a file", where=str(folder), hint=COPY_HINT)


def _verified(path: Path, digest: str) -> bytes:
    content = _bytes(path)
    found = digest_of(content)
    if found != digest:
        raise Refused(
            f"{path.name} was changed: expected {digest}, found {found}", where=str(path.parent), hint=COPY_HINT
        )
    return content


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(
            f"{path.name} cannot be read: {error.strerror}", where=str(path.parent), hint=COPY_HINT
        ) from error


def open_release(bundle: Bundle) -> Engine:
    """Open the engine of a verified release, and check that it passes its self-test.

    The self-test runs only the engine, on complete rows and before the calibrator, because another machine or library
    can change nothing else. Raises Refused if an answer differs from the recorded one, if the self-test is missing, if
    the calibrator does not fit the task, or if a feature view has what the closed list of functions has not.
    """
    release, variant = bundle.release, bundle.release.variant
    _expect_valid_views(release)
    engine = load_engine(variant.engine)(bundle.model, variant.settings)
    _answer_as_recorded(engine, release.self_test)
    _run_self_test(engine, release.self_test, variant.signature, where=f"{release.name} {bundle.digest}")
    _expect_probability(release)
    return engine


def _answer_as_recorded(engine: Engine, test: SelfTest) -> None:
    """Let an ONNX graph of two columns answer the second alone, as every one did when an earlier release was made."""
    recorded_one = bool(test.answers) and len(test.answers[0]) == 1
    if not recorded_one or getattr(engine, "first_column", None) != 0:
        return
    if engine.predict(np.array(test.rows[:1], dtype=np.float64)).shape[1] == 2:
        engine.first_column = 1  # type: ignore[attr-defined]


def _expect_valid_views(release: Release) -> None:
    """Check the views again as if they were declared; one without features was written by an earlier headway."""
    try:
        for view in release.views:
            if view.features:
                expect_valid(view)
    except ConfigError as error:
        raise Refused(f"the release has an invalid feature {error.what}", where=error.where, hint=error.hint) from error


def _expect_probability(release: Release) -> None:
    variant = release.variant
    if release.calibrator and variant.task != "binary":
        raise Refused(
            f"the release of a {variant.task} model has a calibrator, which corrects only a single probability"
        )


def self_test_rows(test: SelfTest, signature: Signature) -> Floats:
    """Return the rows of a self-test as the model reads them here: float64 of shape (n, d)."""
    rows = np.array(test.rows, dtype=np.float64)
    for index, field in enumerate(signature.inputs):
        if field.is_text:
            codes, known = np.array(text_codes.keep(test.texts[field.name])), ~np.isnan(rows[:, index])
            rows[known, index] = codes[rows[known, index].astype(np.int64)]
    return rows


def _run_self_test(engine: Engine, test: SelfTest, signature: Signature, *, where: str) -> None:
    """Check all rows at once and each alone, because traffic decides the batch size."""
    if not test.rows:
        raise Refused("the release has no self-test, so its answers cannot be verified on this machine", where=where)
    rows = self_test_rows(test, signature)
    expected = np.array(test.answers, dtype=np.float64)
    alone = np.concatenate([engine.predict(rows[i : i + 1]) for i in range(len(rows))])
    for answers, how in ((engine.predict(rows), "together"), (alone, "one by one")):
        off = _off(answers, expected)
        if not off <= test.tolerance:
            raise Refused(
                f"the release fails its self-test: {len(rows)} rows {how} are off by up to {off:g}, "
                f"more than {test.tolerance:g}",
                where=where,
                hint="it was made on another machine or library: release it again from here, or serve it there",
            )


def _off(answers: Floats, expected: Floats) -> float:
    """Return the largest difference; infinite if the shapes differ, and NaN equals only NaN."""
    if answers.shape != expected.shape:
        return float("inf")
    same = (answers == expected) | (np.isnan(answers) & np.isnan(expected))
    off = np.where(same, 0.0, np.abs(answers - expected))
    return float(np.nan_to_num(off, nan=np.inf).max())
