"""What was verified of a long chain is not verified again; a forged, old or foreign checkpoint changes no answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace as changed
from releases import BACK, FILES, forget, passed, publishers_only, register, release, tamper

from headway.core.contracts import Signed
from headway.core.errors import Refused
from headway.core.record import digest_of, read, write
from headway.core.release import PointerUpdate
from headway.registry import chain
from headway.registry.model_registry import ModelRegistry
from headway.registry.sign import create_publisher, load_publisher

EVERY, MOVES = 4, 10
REPLACED = """CAST(replace({0}, '"{1}":"', '"{1}":"{2}') AS BLOB)"""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "CHECKPOINT_EVERY", EVERY)


@pytest.fixture
def long(ours: ModelRegistry, two: tuple[str, str]) -> ModelRegistry:
    """A registry whose chain has ten updates: the canary's is the third, all others are those of `flights@live`."""
    ours.point("flights@canary", two[0], passed())
    for number in range(MOVES - 3):
        ours.point("flights@live", two[number % 2], BACK)
    return ours


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The subjects whose signature was verified."""
    counted: Counter[str] = Counter()
    real = chain.verify

    def count(signed: Signed, *arguments: object, **options: object) -> str:
        counted[str(options["subject"])] += 1
        return real(signed, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(chain, "verify", count)
    yield counted


def own(folder: Path) -> chain.Checkpoint:
    keys = folder / "trust" / "trusted_keys.txt"
    return chain.own_checkpoint(chain.checkpoint_file(keys), publishers_only(keys))


def test_a_signature_that_this_machine_verified_is_not_verified_again(
    long: ModelRegistry, tmp_path: Path, verified: Counter[str]
) -> None:
    assert (own(tmp_path).count, len(long.history()), own(tmp_path).count) == (8, MOVES, MOVES)
    assert verified == {"move 9 of the chain": 1, "move 10 of the chain": 1, "the checkpoint": 1}


def test_a_new_machine_believes_the_checkpoint_that_a_publisher_signed(
    long: ModelRegistry, tmp_path: Path, verified: Counter[str]
) -> None:
    forget(tmp_path)
    assert len(register(tmp_path).history()) == MOVES
    assert verified == {"move 9 of the chain": 1, "move 10 of the chain": 1, "the checkpoint": 1}


def test_a_machine_without_a_checkpoint_verifies_every_signature_once(
    long: ModelRegistry, tmp_path: Path, verified: Counter[str]
) -> None:
    forget(tmp_path)
    tamper(long, "DELETE FROM records WHERE kind = 'checkpoint'")
    for _ in range(2):
        assert len(register(tmp_path).history()) == MOVES
    assert sorted(verified.values()) == [1] * MOVES and own(tmp_path).count == MOVES


@pytest.mark.parametrize("source", ["own", "signed"])
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (f"UPDATE moves SET content = {REPLACED.format('content', 'who', 'not ')} WHERE place = 2", "was changed"),
        (
            f"UPDATE moves SET signature = {REPLACED.format('signature', 'signature', 'AAAA')} WHERE place = 2",
            "the signature of move 2 of the chain was changed",
        ),
        ("DELETE FROM moves WHERE place = 2", "move 2 of the chain follows a move that is not there"),
        ("UPDATE moves SET place = 100 WHERE place = 2", "move 2 of the chain is out of order"),
        ("DELETE FROM moves WHERE place > 6", "replayed pointer flights@live"),
    ],
)
def test_what_changed_before_a_checkpoint_is_named(
    long: ModelRegistry, tmp_path: Path, statement: str, message: str, source: str
) -> None:
    if source == "signed":
        chain.checkpoint_file(long.trusted_keys).unlink()
    else:
        tamper(long, "DELETE FROM records WHERE kind = 'checkpoint'")
    tamper(register(tmp_path), statement)
    with pytest.raises(Refused, match=message):
        register(tmp_path).history()


def test_write_access_to_the_store_forges_no_checkpoint(long: ModelRegistry, tmp_path: Path) -> None:
    """Eve rewrites the chain with her key, and signs that she verified all of it."""
    eve = create_publisher(tmp_path / "eve.pem")
    forged: list[Signed] = []
    for signed in long.state.updates():
        move = read(PointerUpdate, signed.content)
        forged.append(eve.sign(write(changed(move, previous=digest_of(forged[-1].content) if forged else ""))))
    for index, signed in enumerate(forged, 1):
        tamper(
            register(tmp_path),
            "UPDATE moves SET content = ?, signature = ? WHERE place = ?",
            signed.content,
            signed.signature,
            index,
        )
    links = chain.link(forged)
    lie = changed(
        chain.START.extended(links, publishers_only(long.trusted_keys)), keys=(load_publisher(long.publisher_key).key,)
    )
    forget(tmp_path)
    again = register(tmp_path)
    for content in (msgspec.json.encode(eve.sign(write(lie))), msgspec.json.encode(forged[0]), b"{}", b"\xff"):
        again.state.save("checkpoint", content, name="")
        for attempt in (again.history, lambda: again.resolve("flights@live")):
            with pytest.raises(Refused, match=f"is signed by {re.escape(eve.key)}, which is not trusted"):
                attempt()


def test_a_signed_record_of_another_kind_is_not_a_checkpoint(long: ModelRegistry, tmp_path: Path) -> None:
    chain.checkpoint_file(long.trusted_keys).unlink()
    long.state.save("checkpoint", msgspec.json.encode(long.state.updates()[0]), name="")
    assert chain.signed_checkpoint(long.state, publishers_only(long.trusted_keys)) == chain.START
    assert len(long.history()) == MOVES


def test_a_checkpoint_of_a_key_that_is_not_trusted_any_more_is_not_used(long: ModelRegistry, tmp_path: Path) -> None:
    old = load_publisher(long.publisher_key).key
    bob = create_publisher(tmp_path / "bob.pem")
    long.trusted_keys.write_text(f"{bob.key} bob\n")
    with pytest.raises(Refused, match=f"move 1 of the chain is signed by {re.escape(old)}, which is not trusted"):
        long.history()


def test_a_release_is_loaded_from_the_updates_since_the_checkpoint(
    long: ModelRegistry, two: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    real = chain.link

    def count(updates: list[Signed], *after: chain.Checkpoint) -> tuple[chain.ChainEntry, ...]:
        lengths.append(len(updates))
        return real(updates, *after)

    monkeypatch.setattr(chain, "link", count)
    again = register(tmp_path)
    assert again.resolve("flights@live").digest == two[0]
    assert again.resolve("flights@canary").digest == two[0]
    assert (again.head("hotels@live"), lengths) == (None, [2, 2, 2])


def test_the_last_update_is_found_although_its_row_is_labeled_as_another(
    long: ModelRegistry, two: tuple[str, str], tmp_path: Path
) -> None:
    tamper(long, "UPDATE moves SET name = 'hotels' WHERE pointer = 'canary'")
    assert register(tmp_path).resolve("flights@canary").digest == two[0]
    tamper(register(tmp_path), "UPDATE moves SET name = 'hotels' WHERE place = 10")
    assert register(tmp_path).resolve("flights@live").digest == two[0]


def test_a_machine_that_saw_an_update_before_the_checkpoint_reads_the_complete_chain(
    long: ModelRegistry, two: tuple[str, str], tmp_path: Path
) -> None:
    first = long.state.updates()[0]
    file = chain.last_seen_file(long.trusted_keys)
    file.unlink()
    chain.save_last_seen(file, "flights@live", chain.LastSeen(number=1, digest=digest_of(first.content)))
    assert register(tmp_path).resolve("flights@live").digest == two[0]
    file.unlink()
    chain.save_last_seen(file, "flights@live", chain.LastSeen(number=1, digest="sha256:other"))
    with pytest.raises(Refused, match="move 1 was seen here before, and there is another move"):
        register(tmp_path).resolve("flights@live")


def test_a_checkpoint_of_another_store_decides_nothing(long: ModelRegistry, tmp_path: Path) -> None:
    chain.last_seen_file(long.trusted_keys).unlink()
    other = register(tmp_path, store="other")
    digest = other.publish(release(), FILES)
    other.point("flights@live", digest, passed())
    assert other.resolve("flights@live").digest == digest
    assert (len(other.history()), own(tmp_path).count) == (1, 8)
    assert other.state.latest("checkpoint", name="") is None


def test_an_update_of_an_unknown_key_ends_the_checkpoint_and_blocks_no_other_pointer(
    long: ModelRegistry, two: tuple[str, str], tmp_path: Path
) -> None:
    eve, count = create_publisher(tmp_path / "eve.pem"), own(tmp_path).count
    last = long.state.updates()[-1].content
    move = changed(read(PointerUpdate, last), name="hotels", number=1, previous=digest_of(last))
    assert long.state.append(eve.sign(write(move)))
    for number in range(2 * EVERY):
        long.point("flights@live", two[number % 2], BACK)
    assert own(tmp_path).count == MOVES > count and long.resolve("flights@live").digest == two[1]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", write(release())])
def test_a_checkpoint_that_cannot_be_read_is_made_again(long: ModelRegistry, tmp_path: Path, content: bytes) -> None:
    file = chain.checkpoint_file(long.trusted_keys)
    file.write_bytes(content)
    tamper(long, "DELETE FROM records WHERE kind = 'checkpoint'")
    assert (own(tmp_path), len(register(tmp_path).history()), own(tmp_path).count) == (chain.START, MOVES, MOVES)


def test_where_nothing_can_be_written_the_chain_is_verified_again(
    long: ModelRegistry, tmp_path: Path, verified: Counter[str]
) -> None:
    file = chain.checkpoint_file(long.trusted_keys)
    file.unlink()
    file.mkdir()
    tamper(long, "DELETE FROM records WHERE kind = 'checkpoint'")
    for _ in range(2):
        assert len(register(tmp_path).history()) == MOVES
    assert set(verified.values()) == {2}


def test_a_pointer_returns_to_a_release_that_it_had_before_the_checkpoint(
    long: ModelRegistry, two: tuple[str, str]
) -> None:
    third = long.publish(release(made_at="July"), FILES)
    for _ in range(2 * EVERY):
        long.point("flights@live", third, passed())
    assert long.point("flights@live", two[1], BACK).release == two[1]
    assert long.roll_forward("flights@live", who="bob", why="it was not slow").release == third
