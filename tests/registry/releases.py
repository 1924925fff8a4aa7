"""Small releases, keys and registers for the tests of this folder."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from headway.core.record import digest_of
from headway.core.release import Release
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.registry import chain
from headway.registry.model_registry import ModelRegistry, UpdateReason
from headway.registry.sign import Trusted, init_keys, init_operator_keys, load_trusted
from headway.storage.state.sqlite import FILE, Sqlite

FILES = {"model.echo": b"echo", "notes.txt": b"as measured"}


def release(name: str = "flights", made_at: str = "2026-11-24") -> Release:
    """A release of the echo model; another `made_at` is another release."""
    artifact = Artifact(format="echo", digest=digest_of(b"echo"), size_bytes=4)
    variant = Variant(artifact=artifact, engine="echo", signature=Signature(inputs=(Field(name="x"),)))
    verdict = Verdict(answer="pass", subject=variant.digest)
    return Release(name=name, variant=variant, evidence=(), verdict=verdict, made_at=made_at)


def passed(who: str = "ann", why: str = "faster") -> UpdateReason:
    """The reason of a move that follows a verdict."""
    return UpdateReason(who=who, why=why, verdict=release().verdict)


BACK = UpdateReason(who="bob", why="it was slower")


class Clock:
    """A clock that is one minute later whenever it is read, from noon on."""

    minute = 0

    def __call__(self) -> datetime:
        self.minute += 1
        return datetime(2026, 11, 24, 12, self.minute, tzinfo=UTC)


def register(folder: Path, *, store: str = "store") -> ModelRegistry:
    """A register with its keys under `trust/` of the folder, made at the first call."""
    trusted, publisher = folder / "trust" / "trusted_keys.txt", folder / "keys" / "publisher.pem"
    init_keys(publisher, trusted, comment="ann@laptop")
    return ModelRegistry(
        folder=folder / store / "releases",
        state=Sqlite(folder / store),
        trusted_keys=trusted,
        publisher_key=publisher,
        clock=Clock(),
    )


def publishers_only(trusted_keys: Path) -> chain.UpdateKeys:
    """The keys of a machine that trusts no operator."""
    return chain.UpdateKeys(load_trusted(trusted_keys), Trusted(Path("operator_keys.txt"), {}))


def with_operator(ours: ModelRegistry, folder: Path) -> ModelRegistry:
    """The register of a machine that has an operator's key, in its list of operators."""
    private, listed = folder / "keys" / "operator.pem", folder / "trust" / "operator_keys.txt"
    init_operator_keys(private, listed, trusted_keys=ours.trusted_keys, comment="bob@dashboard")
    return replace(ours, operator_keys=listed, operator_key=private)


def tamper(ours: ModelRegistry, statement: str, *values: object) -> None:
    """Change the database of a store directly."""
    ours.state.close()
    with closing(sqlite3.connect(ours.folder.parent / FILE)) as db, db:
        assert db.execute(statement, values).rowcount > 0


def delete_last_seen(folder: Path) -> None:
    """Forget the updates that this machine has seen."""
    chain.last_seen_file(folder / "trust" / "trusted_keys.txt").unlink()


def forget(folder: Path) -> None:
    """Be a machine that has never seen the store."""
    chain.checkpoint_file(folder / "trust" / "trusted_keys.txt").unlink(missing_ok=True)
    delete_last_seen(folder)
