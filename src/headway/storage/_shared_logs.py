"""Log segments and labels on S3: shipped from each server, read through a cache, merged, expired and rewritten there.

A segment has the same name everywhere. It is created once under that name, and its local file is removed only then, so
that a segment that is shipped again after an interruption is still there once. Readers never change a segment: they
have a copy in the cache, which follows the tag of the object.
"""

from __future__ import annotations

import fcntl
import logging
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path, PurePosixPath

import msgspec

from headway.core.errors import StoreError
from headway.storage import atomic, segments, traffic
from headway.storage._s3 import Bucket, ObjectInfo

_LOG = "log/"
KINDS = (_LOG, "labels/")
_INDEX, _LOCK = "index.json", "index.lock"
_SEGMENT = re.compile(r"(log/[A-Za-z0-9][\w.-]*|labels)/[A-Za-z0-9][\w.-]*/[0-9][\w-]*\.arrow", re.ASCII)
_REWRITING = "rewriting.lock"
_STALE_S, _WAIT_S, _PAUSE_S = 900.0, 120.0, 0.5
_TRIES, _THREADS = 5, 8
_log = logging.getLogger(__name__)


class SharedLogs:
    """Log and labels of all servers under an address, and the state folder of this machine.

    Segments that wait to be shipped lie in the state folder as they do without S3; copies lie in its folder `cache`.
    """

    def __init__(self, address: str, state: Path) -> None:
        self.address = address
        self._bucket = Bucket(address, role="logs")
        self._state = state
        self.cache = state / traffic.CACHE

    def require_usable(self) -> None:
        """Raise StoreError if the server ignores conditional writes; the state folder remembers that it was checked."""
        self._bucket.require_conditional_writes(self._state)

    def waiting(self) -> list[Path]:
        """Return the segments of this machine that are not shipped yet, in the order in which they were written."""
        found = traffic.all_segments(self._state)
        return sorted(found, key=lambda path: (segments.written_ns(path), path.name))

    def ship(self, *, is_complete: Callable[[Path], bool] = lambda _: True) -> int:
        """Ship the segments that wait, in order, and remove each here once it is there; return how many.

        The first that fails ends it with StoreError, and the rest waits. Those that are not complete are left out.
        """
        shipped = 0
        paths = [path for path in self.waiting() if is_complete(path)]
        if not paths:
            return shipped
        with traffic.rewriting(self._state, wait=True):
            for path in paths:
                try:
                    content = path.read_bytes()
                except FileNotFoundError:  # erased, merged or shipped by another process since
                    continue
                self._bucket.create(self._key(path), content)  # one that exists was shipped before an interruption
                path.unlink(missing_ok=True)
                shipped += 1
        return shipped

    def refresh(self, *names: str, max_log_bytes: int | None = None) -> Path:
        """Make the cache a copy of the segments of some names, or of all; return its folder, where readers find them.

        With `max_log_bytes` older segments of the log may be absent: at least the latest of that many bytes, and all
        labels, are there. Raises StoreError if that fails: only the complete log is judged.
        """
        prefixes = [f"{kind}{name}/" for kind in KINDS for name in names] or KINDS
        atomic.make_folder(self.cache)
        with (self.cache / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for _ in range(_TRIES):
                if all(self._copy(prefix, max_log_bytes if prefix.startswith(_LOG) else None) for prefix in prefixes):
                    return self.cache
        raise StoreError("the log changes faster than it can be read", where=self.address, hint="try again")

    def drop_changed_copies(self) -> None:
        """Delete copies of segments that were replaced or deleted, so that erased rows leave this machine too.

        Does nothing while a reader makes the cache up to date.
        """
        if not (self.cache / _INDEX).exists():
            return
        with (self.cache / _LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            current = {key: found.etag for key, found in self._listed(KINDS)}
            index = self._index()
            changed = [key for key, etag in index.items() if current.get(key) != etag]
            for key in changed:
                (self.cache / key).unlink(missing_ok=True)
            if changed:
                self._save_index({key: etag for key, etag in index.items() if current.get(key) == etag})

    def paths(self) -> Iterator[Path]:
        """Yield the paths that all segments would have in the state folder, in order."""
        for key, _ in self._listed(KINDS):
            yield self._state / key

    def rewrite(self, key: str, by: Callable[[], object]) -> None:
        """Replace a segment by its copy in the cache, once a function has rewritten that.

        The copy is removed from the index before that, so that it is fetched and rewritten again after an interruption.
        """
        with (self.cache / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._save_index({known: etag for known, etag in self._index().items() if known != key})
            by()
            self._bucket.put(key, (self.cache / key).read_bytes())

    def delete(self, *keys: str) -> None:
        """Delete segments, with all of their versions where the bucket has versions."""
        self._bucket.delete(*keys)

    def delete_old_versions(self) -> int:
        """Delete the versions of segments that were replaced or deleted, by name; return how many."""
        return sum(self._bucket.delete_old_versions(kind) for kind in KINDS)

    def delete_older(self, before_ns: int) -> int:
        """Delete the segments that were written before a time; return how many."""
        old = [key for key, _ in self._listed(KINDS) if segments.written_ns(Path(key)) < before_ns]
        self.delete(*old)
        return len(old)

    def merge(self, *, before_ns: int, span_ns: int, part: str) -> int:
        """Merge neighboring small segments as `segments.merge` does; return how many are replaced.

        0 while another machine rewrites segments.
        """
        replaced = 0
        with self.rewriting(wait=False) as renew_lock:
            if renew_lock is None:
                return replaced
            listed = [item for item in self._listed(KINDS) if segments.written_ns(Path(item[0])) < before_ns]
            for _, of_folder in groupby(listed, key=lambda item: PurePosixPath(item[0]).parent):
                for group in segments.groups([(Path(key), found.size_bytes) for key, found in of_folder], span_ns):
                    replaced += self._merge_group([path.as_posix() for path in group], part=part)
                    renew_lock()
        return replaced

    @contextmanager
    def rewriting(self, *, wait: bool) -> Iterator[Callable[[], None] | None]:
        """Lock the segments for a machine that rewrites them; yields a function that renews the lock.

        Yields None if another machine has the lock and `wait` is false, and raises StoreError if that does not free it
        for two minutes. A lock that was not renewed for 15 minutes was left by a machine that ended: one machine takes
        it over, and if the former holder goes on after all, it fails when it renews.
        """
        token = secrets.token_bytes(8)
        ends = time.monotonic() + (_WAIT_S if wait else 0.0)
        while not self._lock(token):
            if not wait:
                yield None
                return
            if time.monotonic() > ends:
                raise StoreError("another machine rewrites the log", where=self.address, hint="try again later")
            time.sleep(_PAUSE_S)

        def renew() -> None:
            found, content = self._bucket.head(_REWRITING), token + secrets.token_bytes(8)  # another tag each time
            if not (found and self._holds(token) and self._bucket.replace(_REWRITING, content, etag=found.etag)):
                raise StoreError("another machine took over the rewriting", where=self.address, hint="try again later")

        try:
            yield renew
        finally:
            if self._holds(token):
                self._bucket.delete(_REWRITING)

    def _lock(self, token: bytes) -> bool:
        if self._bucket.create(_REWRITING, token):
            return True
        found = self._bucket.etag_and_age_s(_REWRITING)
        if found is None or found[1] <= _STALE_S:
            return False
        return self._bucket.replace(_REWRITING, token, etag=found[0])

    def _holds(self, token: bytes) -> bool:
        return (self._bucket.get(_REWRITING) or b"").startswith(token)

    def _merge_group(self, keys: Sequence[str], *, part: str) -> int:
        """Merge the segments of a group, which are complete and unchanged; return how many are replaced."""
        if len(keys) < segments.MIN_MERGED:
            return 0
        with tempfile.TemporaryDirectory(dir=self._state) as name:
            folder = Path(name) / "segments"
            folder.mkdir()
            for key in keys:
                content = self._bucket.get(key)
                if content is not None:
                    (folder / PurePosixPath(key).name).write_bytes(content)
            there = {path.name for path in folder.iterdir()}
            segments.merge(folder, before_ns=time.time_ns(), span_ns=1 << 63, part=part)
            remaining = {path.name for path in folder.iterdir()}
            parent = PurePosixPath(keys[0]).parent
            for new in sorted(remaining - there):
                self._bucket.put(f"{parent}/{new}", (folder / new).read_bytes())
        replaced = [f"{parent}/{old}" for old in sorted(there - remaining)]
        self.delete(*replaced)
        return len(replaced)

    def _copy(self, prefix: str, max_bytes: int | None) -> bool:
        """Copy the segments below a prefix into the cache; False if one was deleted since it was listed.

        A copy is removed only when the others are there: readers that see the parts of a merged segment and itself
        know rows that are there twice, but not rows that are absent for a time.
        """
        index, listed = self._index(), dict(self._listed([prefix]))
        wanted = listed.values() if max_bytes is None else _latest(listed.values(), max_bytes)
        stale = [
            found for found in wanted if index.get(found.key) != found.etag or not (self.cache / found.key).is_file()
        ]
        with ThreadPoolExecutor(_THREADS) as pool:
            for found, is_copied in zip(stale, pool.map(self._download, stale), strict=True):
                if is_copied:
                    index[found.key] = found.etag
        gone = [key for key in index if key.startswith(prefix) and key not in listed]
        for key in gone:
            (self.cache / key).unlink(missing_ok=True)
            del index[key]
        if stale or gone:
            self._save_index(index)
        return all(index.get(found.key) == found.etag for found in stale)

    def _download(self, found: ObjectInfo) -> bool:
        content = self._bucket.get(found.key)
        if content is not None:
            atomic.write(self.cache / found.key, content, temporary=self.cache)
        return content is not None

    def _listed(self, prefixes: Sequence[str]) -> Iterator[tuple[str, ObjectInfo]]:
        """Yield key and object of each segment, in order; other objects, whose keys could be paths, are left out."""
        for prefix in prefixes:
            for found in self._bucket.objects(prefix):
                if _SEGMENT.fullmatch(found.key):
                    yield found.key, found

    def _index(self) -> dict[str, str]:
        """Return the tag of each segment in the cache; a damaged index makes all of them be read again."""
        try:
            return msgspec.json.decode((self.cache / _INDEX).read_bytes(), type=dict[str, str])
        except (OSError, msgspec.MsgspecError):
            return {}

    def _save_index(self, index: dict[str, str]) -> None:
        atomic.write(self.cache / _INDEX, msgspec.json.encode(index))

    def _key(self, path: Path) -> str:
        return path.relative_to(self._state).as_posix()


def _latest(found: Iterable[ObjectInfo], max_bytes: int) -> Iterator[ObjectInfo]:
    """Yield the segments that were written last, of all folders, until they have `max_bytes`."""
    total = 0
    for segment in sorted(found, key=lambda item: PurePosixPath(item.key).name, reverse=True):
        if total >= max_bytes:
            return
        total += segment.size_bytes
        yield segment
