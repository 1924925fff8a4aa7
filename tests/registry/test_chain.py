"""A log of moves that is not what was signed: the first broken move is named."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace as changed
from releases import BACK, FILES, passed, register, release

from headway.core.errors import HeadwayError, Refused
from headway.core.record import digest_of, read, write
from headway.core.release import PointerUpdate
from headway.registry import chain
from headway.registry.model_registry import ModelRegistry
from headway.registry.sign import create_publisher, load_publisher
from headway.storage.state.sqlite import FILE


def spoil(ours: ModelRegistry, statement: str, *values: object) -> None:
    """Change the store behind everybody's back."""
    ours.state.close()
    with closing(sqlite3.connect(ours.folder.parent / FILE)) as db, db:
        assert db.execute(statement, values).rowcount > 0


@pytest.fixture
def four(ours: ModelRegistry, two: tuple[str, str], tmp_path: Path) -> ModelRegistry:
    """A register with two moves of `flights@live`, one of `flights@canary`, and again one of `flights@live`."""
    ours.point("flights@canary", two[0], passed())
    ours.point("flights@live", two[0], BACK)
    return ours


def forget(folder: Path) -> None:
    chain.last_seen_file(folder / "trust" / "trusted_keys.txt").unlink()


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_an_edited_move_is_named(four: ModelRegistry, tmp_path: Path, place: int) -> None:
    content = four.state.updates()[place - 1].content.replace(b'"who":"', b'"who":"not ')
    spoil(four, "UPDATE moves SET content = ? WHERE place = ?", content, place)
    with pytest.raises(Refused, match=f"move {place} of the chain was changed after ed25519:"):
        register(tmp_path).history()


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_an_edited_signature_is_named(four: ModelRegistry, tmp_path: Path, place: int) -> None:
    signature = four.state.updates()[place - 1].signature.replace(b'"signature":"', b'"signature":"AAAA')
    spoil(four, "UPDATE moves SET signature = ? WHERE place = ?", signature, place)
    with pytest.raises(Refused, match=f"the signature of move {place} of the chain was changed"):
        register(tmp_path).history()


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_deleted_move_is_named_by_the_one_that_followed_it(four: ModelRegistry, tmp_path: Path, place: int) -> None:
    spoil(four, "DELETE FROM moves WHERE place = ?", place)
    for look in (register(tmp_path).history, lambda: register(tmp_path).resolve("flights@live")):
        with pytest.raises(Refused, match=f"move {place} of the chain follows a move that is not there"):
            look()


@pytest.mark.parametrize("place", [1, 2, 3])
def test_moves_in_another_order_are_named(four: ModelRegistry, tmp_path: Path, place: int) -> None:
    spoil(four, "UPDATE moves SET place = -(2 * ?1 + 1 - place) WHERE place IN (?1, ?1 + 1)", place)
    spoil(four, "UPDATE moves SET place = -place WHERE place < 0")
    with pytest.raises(Refused, match=f"move {place} of the chain is out of order"):
        register(tmp_path).history()


def test_moves_that_were_cut_off_are_told_by_who_saw_them(four: ModelRegistry, tmp_path: Path) -> None:
    spoil(four, "DELETE FROM moves WHERE place > 2")
    message = (
        r"replayed pointer flights@(live: move 2|canary: move 1) was seen here before, and this store ends at move"
    )
    with pytest.raises(Refused, match=message):
        register(tmp_path).history()


def test_a_first_move_of_another_store_spliced_in_is_named(four: ModelRegistry, tmp_path: Path) -> None:
    other = register(tmp_path, store="other")
    other.point("hotels@live", other.publish(release("hotels"), FILES), passed())
    (first,) = other.state.updates()
    columns = "(name, pointer, number, content, signature)"
    spoil(four, f"INSERT INTO moves {columns} VALUES ('hotels', 'live', 1, ?, ?)", first.content, first.signature)
    with pytest.raises(Refused, match="move 5 of the chain is out of order"):
        register(tmp_path).history()


def test_a_move_that_is_no_move_is_named(four: ModelRegistry, tmp_path: Path) -> None:
    signed = load_publisher(four.publisher_key).sign(b'{"kind":"release","version":1,"record":{}}')
    spoil(four, "UPDATE moves SET content = ?, signature = ? WHERE place = 2", signed.content, signed.signature)
    for look in (register(tmp_path).history, lambda: register(tmp_path).resolve("flights@live")):
        with pytest.raises(Refused, match="move 2 of the chain cannot be read: expected a record 'pointer_update'"):
            look()


def test_a_signed_move_with_a_wrong_number_is_named(four: ModelRegistry, tmp_path: Path) -> None:
    move = read(PointerUpdate, four.state.updates()[-1].content)
    signed = load_publisher(four.publisher_key).sign(write(changed(move, number=7)))
    spoil(four, "UPDATE moves SET content = ?, signature = ? WHERE place = 4", signed.content, signed.signature)
    forget(tmp_path)
    with pytest.raises(Refused, match="move 4 of the chain is numbered 7 where 3 was due"):
        register(tmp_path).history()


def test_a_move_by_an_unknown_key_is_not_followed(ours: ModelRegistry, two: tuple[str, str], tmp_path: Path) -> None:
    eve = create_publisher(tmp_path / "eve.pem")
    last = ours.state.updates()[-1].content
    move = changed(read(PointerUpdate, last), number=3, release=two[0], previous=digest_of(last))
    assert ours.state.append(eve.sign(write(move)))
    for look in (ours.history, lambda: ours.resolve("flights@live")):
        with pytest.raises(
            Refused, match=f"move 3 of the chain is signed by {re.escape(eve.key)}, which is not trusted"
        ):
            look()
    assert chain.load_last_seen(chain.last_seen_file(ours.trusted_keys))["flights@live"].number == 2


def test_a_pointer_is_followed_though_another_team_moved_its_own_since(
    ours: ModelRegistry, two: tuple[str, str], tmp_path: Path
) -> None:
    eve = create_publisher(tmp_path / "eve.pem")
    last = ours.state.updates()[-1].content
    move = changed(read(PointerUpdate, last), name="hotels", number=1, previous=digest_of(last))
    assert ours.state.append(eve.sign(write(move)))
    assert ours.resolve("flights@live").digest == two[1]


def test_every_refusal_says_what_where_and_the_mend(four: ModelRegistry, tmp_path: Path) -> None:
    spoil(four, "DELETE FROM moves WHERE place = 2")
    with pytest.raises(HeadwayError) as caught:
        register(tmp_path).history()
    assert all((caught.value.what, caught.value.where, caught.value.hint))
