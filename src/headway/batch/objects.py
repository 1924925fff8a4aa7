"""Write the output of a scoring run to S3: it is scored into a folder of the project, and then stored object by object.

An object appears when it is complete. `OUT.terms.json` claims the address for one run, so that runs never mix.
`OUT.receipt.json` comes last: with it the output is complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headway.batch.journal import Receipt, Terms, lock_folder
from headway.core import record
from headway.core.errors import ConfigError, StoreError
from headway.core.plugins import load_sibling
from headway.core.record import digest_of
from headway.storage import addresses

FOLDER = "predictions"
_RECEIPT, _TERMS, _REFUSED = ".receipt.json", ".terms.json", ".refused.csv"
_DIGEST = "headway-digest"


@contextmanager
def open_output(address: str, state: Path) -> Iterator[ObjectOutput]:
    """Open the output at `s3://BUCKET/NAME` or below, and lock the folder in which it is scored first.

    Raises
    ------
    ConfigError
        If the address names no object.
    StoreError
        If another process of this machine writes there, or the server ignores conditional writes.
    """
    root, _, name = address.rstrip("/").rpartition("/")
    if not root.removeprefix("s3:").strip("/"):
        raise ConfigError(f"'{address}' names a bucket, and no object in it", hint=f"{address.rstrip('/')}/scores")
    bucket = load_sibling(addresses.__name__, "s3", reads=f"'{address}'").Bucket(root)
    bucket.require_conditional_writes(state)
    folder = state / FOLDER / digest_of(address.rstrip("/").encode()).removeprefix("sha256:")[:16]
    with lock_folder(folder, output=address):
        yield ObjectOutput(bucket, name, folder)


class ObjectOutput:
    """Objects of one output: those of its files, and next to them its receipt and its list of refused rows."""

    def __init__(self, bucket: Any, name: str, folder: Path) -> None:
        self._bucket, self._name, self._folder = bucket, name, folder

    def fill(self, terms: Terms, score: Callable[[Path], Receipt]) -> Receipt:
        """Score with these terms, store the result and return its receipt; of a complete output, return it at once.

        Raises StoreError if the address has objects of another run, or others.
        """
        receipt = self._load_receipt(terms)
        if receipt is None:
            self._claim(terms)
            receipt = score(self._folder / self._name)
            self._store(receipt)
        self._bucket.delete(self._name + _TERMS)
        shutil.rmtree(self._folder)
        return receipt

    def _load_receipt(self, terms: Terms) -> Receipt | None:
        content = self._bucket.get(self._name + _RECEIPT)
        if content is None:
            return None
        receipt = record.read(Receipt, content)
        if receipt.terms != terms:
            raise self._error("is the output of another run", terms.differences(receipt.terms))
        for key, digest in self._digests(receipt).items():
            if self._stored_digest(key) != digest:
                raise self._error(f"was changed after it was written: {key}")
        return receipt

    def _claim(self, terms: Terms) -> None:
        """Write the terms of a new run; raise StoreError if a run with others, or other objects, are there."""
        key = self._name + _TERMS
        before = self._bucket.get(key)
        if before is None:
            if self._bucket.head(self._name) or next(self._bucket.objects(f"{self._name}/"), None):
                raise self._error("exists already")
            if self._bucket.create(key, record.write(terms)):
                return
            before = self._bucket.get(key) or record.write(terms)
        if (started := record.read(Terms, before)) != terms:
            raise self._error("was started with another release, file or options", terms.differences(started))

    def _store(self, receipt: Receipt) -> None:
        """Store the files that are not there yet, and then the receipt."""
        for key, digest in self._digests(receipt).items():
            if self._stored_digest(key) != digest:
                self._bucket.upload(key, self._folder / key, metadata={_DIGEST: digest})
        if (refused := self._folder / (self._name + _REFUSED)).exists():
            self._bucket.upload(self._name + _REFUSED, refused)
        content = record.write(receipt)
        if not self._bucket.create(self._name + _RECEIPT, content) and self._load_receipt(receipt.terms) != receipt:
            raise self._error("was written by another process")

    def _digests(self, receipt: Receipt) -> Mapping[str, str]:
        """Return the digest of each object by its key."""
        if not receipt.files:
            return {self._name: receipt.digest}
        return {f"{self._name}/{file.file}": file.digest for file in receipt.files}

    def _stored_digest(self, key: str) -> str:
        return str((self._bucket.metadata(key) or {}).get(_DIGEST, ""))

    def _error(self, what: str, differences: list[str] | None = None) -> StoreError:
        address = f"{self._bucket.address}/{self._name}"
        listed = f": {'; '.join(differences)}" if differences else ""
        hint = "give another name; or delete its objects, its receipt and its terms to start again"
        return StoreError(f"'{self._name}' {what}{listed}", where=address, hint=hint)
