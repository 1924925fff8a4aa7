"""Signed proofs of erasures: each names the one before it, so that none can be changed or removed unnoticed."""

from __future__ import annotations

import msgspec

from headway.core.contracts import Signed
from headway.core.erasure import Erasure, ErasureProof, decode_erasure
from headway.core.errors import Refused, StoreError
from headway.core.record import canonical, digest_of, kind_of, read
from headway.registry.project import Project
from headway.registry.sign import Publisher, load_trusted, verify

KIND = kind_of(ErasureProof)


def save_proof(project: Project, erasure: Erasure, publisher: Publisher) -> None:
    """Sign an erasure and save it in the state."""
    signed = publisher.sign(canonical(erasure))
    project.save(ErasureProof(content=signed.content.decode(), signature=signed.signature.decode()))


def load_erasures(project: Project) -> list[Erasure]:
    """Return every erasure of a project, oldest first.

    Raises Refused for one that was changed, or if one is missing.
    """
    trusted, found, before = load_trusted(project.registry.trusted_keys), list[Erasure](), ""
    for number, content in enumerate(project.state.records(KIND, name=project.name), 1):
        proof, subject = read(ErasureProof, content), f"erasure {number} of {project.name}"
        signed = Signed(content=proof.content.encode(), signature=proof.signature.encode())
        verify(signed, trusted, subject=subject, where=str(project.config.state))
        erasure = _decode_erasure(signed.content, subject)
        if (erasure.name, erasure.number, erasure.before) != (project.name, number, before):
            hint = "restore the state from a backup"
            raise Refused(f"{subject} does not follow the one before it: a record was removed", hint=hint)
        found.append(erasure)
        before = digest_of(signed.content)
    return found


def signed_erasures(project: Project) -> tuple[Signed, ...]:
    """Return the signed bytes of every erasure, oldest first, after verifying them as `load_erasures` does."""
    load_erasures(project)
    proofs = (read(ErasureProof, content) for content in project.state.records(KIND, name=project.name))
    return tuple(Signed(content=proof.content.encode(), signature=proof.signature.encode()) for proof in proofs)


def next_in_chain(project: Project) -> tuple[int, str]:
    """Return the number of the next erasure, and the digest of the last one."""
    proofs = project.state.records(KIND, name=project.name)
    last = read(ErasureProof, proofs[-1]).content.encode() if proofs else None
    return len(proofs) + 1, digest_of(last) if last is not None else ""


def _decode_erasure(content: bytes, subject: str) -> Erasure:
    try:
        return decode_erasure(content)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{subject} was written by another version of headway", where=str(error)) from error
