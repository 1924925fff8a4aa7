"""Proofs of what was forgotten: signed, numbered, each naming the one before it."""

from __future__ import annotations

from msgspec import MsgspecError, json

from headway.core.contracts import Signed
from headway.core.erasure import Erasure, ErasureProof
from headway.core.errors import Refused, StoreError
from headway.core.record import canonical, digest_of, read
from headway.registry.project import Project
from headway.registry.sign import Publisher, load_trusted, verify

KIND = ErasureProof.__name__.lower()


def keep(project: Project, erasure: Erasure, publisher: Publisher) -> None:
    """Sign an erasure and keep it in the state."""
    signed = publisher.sign(canonical(erasure))
    project.keep(ErasureProof(content=signed.content.decode(), signature=signed.signature.decode()))


def proofs(project: Project) -> list[Erasure]:
    """Every erasure of a project, oldest first; raises Refused for the first that was changed, or has one missing."""
    trusted, found, before = load_trusted(project.register.trusted_keys), list[Erasure](), ""
    for number, content in enumerate(project.state.kept(KIND, name=project.name), 1):
        proof, subject = read(ErasureProof, content), f"erasure {number} of {project.name}"
        signed = Signed(content=proof.content.encode(), signature=proof.signature.encode())
        verify(signed, trusted, subject=subject, where=str(project.config.state))
        erasure = _erasure(signed.content, subject)
        if (erasure.name, erasure.number, erasure.before) != (project.name, number, before):
            hint = "restore the state from a backup"
            raise Refused(f"{subject} does not follow the one before it: one was taken out", hint=hint)
        found.append(erasure)
        before = digest_of(signed.content)
    return found


def link(project: Project) -> tuple[int, str]:
    """The number of the next erasure, and the digest of the last one."""
    kept = project.state.kept(KIND, name=project.name)
    last = read(ErasureProof, kept[-1]).content.encode() if kept else None
    return len(kept) + 1, digest_of(last) if last is not None else ""


def _erasure(content: bytes, subject: str) -> Erasure:
    try:
        return json.decode(content, type=Erasure)
    except MsgspecError as error:
        raise StoreError(f"{subject} is of another headway", where=str(error)) from error
