"""A log of moves that is not what was signed: the first broken move is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace as changed
from releases import BACK, FILES, delete_last_seen, passed, register, release, tamper

from headway.core.errors import HeadwayError, Refused
from headway.core.record import digest_of, read, write
from headway.core.release import PointerUpdate
from headway.registry import chain
from headway.registry.model_registry import ModelRegistry
from headway.registry.sign import create_publisher, load_publisher


@pytest.fixture
def four(ours: ModelRegistry, two: tuple[str, str], tmp_path: Path) -> ModelRegistry:
    """A registry with two updates of `flights@live`, one of `flights@canary`, and again one of `flights@live`."""
    ours.point("flights@canary", two[0], passed())
    ours.point("flights@live", two[0], BACK)
    return ours


@pytest.mark.slow
@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_an_edited_update_is_named(four: ModelRegistry, tmp_path: Path, index: int) -> None:
    content = four.state.updates()[index - 1].content.replace(b'"who":"', b'"who":"not ')
    tamper(four, "UPDATE moves SET content = ? WHERE place = ?", content, index)
    with pytest.raises(Refused, match=f"move {index} of the chain was changed after ed25519:"):
        register(tmp_path).history()


@pytest.mark.slow
@pytest.mark.parametrize("index", [1, 2, 3, 4])
def test_an_edited_signature_is_named(four: ModelRegistry, tmp_path: Path, index: int) -> None:
    signature = four.state.updates()[index - 1].signature.replace(b'"signature":"', b'"signature":"AAAA')
    tamper(four, "UPDATE moves SET signature = ? WHERE place = ?", signature, index)
    with pytest.raises(Refused, match=f"the signature of move {index} of the chain was changed"):
        register(tmp_path).history()


@pytest.mark.slow
@pytest.mark.parametrize("index", [1, 2, 3])
def test_a_deleted_update_is_detected_by_its_successor(four: ModelRegistry, tmp_path: Path, index: int) -> None:
    tamper(four, "DELETE FROM moves WHERE place = ?", index)
    for attempt in (register(tmp_path).history, lambda: register(tmp_path).resolve("flights@live")):
        with pytest.raises(Refused, match=f"move {index} of the chain follows a move that is not there"):
            attempt()


@pytest.mark.slow
@pytest.mark.parametrize("index", [1, 2, 3])
def test_reordered_updates_are_named(four: ModelRegistry, tmp_path: Path, index: int) -> None:
    tamper(four, "UPDATE moves SET place = -(2 * ?1 + 1 - place) WHERE place IN (?1, ?1 + 1)", index)
    tamper(four, "UPDATE moves SET place = -place WHERE place < 0")
    with pytest.raises(Refused, match=f"move {index} of the chain is out of order"):
        register(tmp_path).history()


def test_truncation_is_detected_by_a_reader_who_saw_the_last_updates(four: ModelRegistry, tmp_path: Path) -> None:
    tamper(four, "DELETE FROM moves WHERE place > 2")
    message = (
        r"replayed pointer flights@(live: move 2|canary: move 1) was seen here before, and this store ends at move"
    )
    with pytest.raises(Refused, match=message):
        register(tmp_path).history()


def test_a_first_update_of_another_store_spliced_in_is_named(four: ModelRegistry, tmp_path: Path) -> None:
    other = register(tmp_path, store="other")
    other.point("hotels@live", other.publish(release("hotels"), FILES), passed())
    (first,) = other.state.updates()
    columns = "(name, pointer, number, content, signature)"
    tamper(four, f"INSERT INTO moves {columns} VALUES ('hotels', 'live', 1, ?, ?)", first.content, first.signature)
    with pytest.raises(Refused, match="move 5 of the chain is out of order"):
        register(tmp_path).history()


def test_bytes_that_are_not_an_update_are_named(four: ModelRegistry, tmp_path: Path) -> None:
    signed = load_publisher(four.publisher_key).sign(b'{"kind":"release","version":1,"record":{}}')
    tamper(four, "UPDATE moves SET content = ?, signature = ? WHERE place = 2", signed.content, signed.signature)
    for attempt in (register(tmp_path).history, lambda: register(tmp_path).resolve("flights@live")):
        with pytest.raises(Refused, match="move 2 of the chain cannot be read: expected a record 'pointer_update'"):
            attempt()


def test_a_signed_update_with_a_wrong_number_is_named(four: ModelRegistry, tmp_path: Path) -> None:
    move = read(PointerUpdate, four.state.updates()[-1].content)
    signed = load_publisher(four.publisher_key).sign(write(changed(move, number=7)))
    tamper(four, "UPDATE moves SET content = ?, signature = ? WHERE place = 4", signed.content, signed.signature)
    delete_last_seen(tmp_path)
    with pytest.raises(Refused, match="move 4 of the chain is numbered 7 where 3 was due"):
        register(tmp_path).history()


def test_an_update_by_an_unknown_key_is_not_followed(ours: ModelRegistry, two: tuple[str, str], tmp_path: Path) -> None:
    eve = create_publisher(tmp_path / "eve.pem")
    last = ours.state.updates()[-1].content
    move = changed(read(PointerUpdate, last), number=3, release=two[0], previous=digest_of(last))
    assert ours.state.append(eve.sign(write(move)))
    for attempt in (ours.history, lambda: ours.resolve("flights@live")):
        with pytest.raises(
            Refused, match=f"move 3 of the chain is signed by {re.escape(eve.key)}, which is not trusted"
        ):
            attempt()
    assert chain.load_last_seen(chain.last_seen_file(ours.trusted_keys))["flights@live"].number == 2


def test_a_pointer_is_followed_although_another_team_moved_its_own_since(
    ours: ModelRegistry, two: tuple[str, str], tmp_path: Path
) -> None:
    eve = create_publisher(tmp_path / "eve.pem")
    last = ours.state.updates()[-1].content
    move = changed(read(PointerUpdate, last), name="hotels", number=1, previous=digest_of(last))
    assert ours.state.append(eve.sign(write(move)))
    assert ours.resolve("flights@live").digest == two[1]


def test_every_error_has_message_location_and_hint(four: ModelRegistry, tmp_path: Path) -> None:
    tamper(four, "DELETE FROM moves WHERE place = 2")
    with pytest.raises(HeadwayError) as caught:
        register(tmp_path).history()
    assert all((caught.value.what, caught.value.where, caught.value.hint))


def page(folder: Path, name: str = "", pointer: str = "", **options: int) -> list[tuple[int, str, int]]:
    """Return index, address and number of each update of a page, as another process reads it."""
    return [(one.index, one.address, one.move.number) for one in register(folder).recent(name, pointer, **options)]


@pytest.mark.slow
def test_updates_are_read_in_pages_newest_first(four: ModelRegistry, tmp_path: Path) -> None:
    live = [(index, "flights@live", number) for index, number in ((4, 3), (2, 2), (1, 1))]
    assert page(tmp_path, "flights", "live") == live
    assert page(tmp_path, "flights", limit=2) == [live[0], (3, "flights@canary", 1)]
    assert page(tmp_path, limit=2, before=3) == live[1:]
    assert page(tmp_path, "flights", "canary") == [(3, "flights@canary", 1)]
    assert page(tmp_path, "hotels") == page(tmp_path, before=1) == []
    assert four.recent(limit=1)[0].move == four.history()[-1]


@pytest.mark.slow
def test_a_page_names_the_update_that_is_not_what_was_signed(four: ModelRegistry, tmp_path: Path) -> None:
    content = four.state.updates()[1].content.replace(b'"who":"', b'"who":"not ')
    tamper(four, "UPDATE moves SET content = ? WHERE place = 2", content)
    with pytest.raises(Refused, match="move 2 of the chain was changed after ed25519:"):
        page(tmp_path, "flights", "live")
    assert page(tmp_path, "flights", "live", limit=1) == [(4, "flights@live", 3)], "a page reads no other update"


@pytest.mark.slow
def test_a_page_names_the_gap_that_a_deleted_update_left(four: ModelRegistry, tmp_path: Path) -> None:
    tamper(four, "DELETE FROM moves WHERE place = 2")
    with pytest.raises(Refused, match="move 4 of the chain is numbered 3 where 2 was due"):
        page(tmp_path, "flights", "live")


@pytest.mark.slow
def test_a_page_names_an_update_that_lost_the_race_and_was_put_in(four: ModelRegistry, tmp_path: Path) -> None:
    lost = changed(read(PointerUpdate, four.state.updates()[1].content), why="another reason")
    signed = load_publisher(four.publisher_key).sign(write(lost))
    tamper(four, "UPDATE moves SET content = ?, signature = ? WHERE place = 2", signed.content, signed.signature)
    with pytest.raises(Refused, match="move 3 of the chain follows a move that is not there"):
        page(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("pointer", ["", "live", "canary"])
def test_a_first_page_needs_the_last_updates_that_were_seen(four: ModelRegistry, tmp_path: Path, pointer: str) -> None:
    tamper(four, "DELETE FROM moves WHERE place > 2")
    with pytest.raises(Refused, match=r"replayed pointer flights@\w+: move \d was seen here before"):
        page(tmp_path, "flights", pointer)
    assert page(tmp_path, "hotels") == []
    assert page(tmp_path, before=2) == [(1, "flights@live", 1)]


def test_a_first_page_without_the_pointer_that_was_seen_looks_for_its_last_update(
    four: ModelRegistry, tmp_path: Path
) -> None:
    assert page(tmp_path, limit=1) == [(4, "flights@live", 3)], "flights@canary was seen, and is on no such page"
