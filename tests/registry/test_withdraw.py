"""A pointer that is withdrawn stands at nothing, by a move as good as any; back is to what it had before."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from releases import FILES, passed, register, release

from headway.core.errors import Refused, StoreError

AT = "flights@canary"


@pytest.fixture
def books(tmp_path):
    made = register(tmp_path)
    yield made
    made.state.close()


def test_a_withdrawn_pointer_resolves_to_nothing_and_says_who_withdrew_it(books):
    books.point(AT, books.publish(release(), FILES), passed())
    move = books.withdraw(AT, who="bob", why="harm")
    assert (move.release, move.number, move.verdict, move.answer) == ("", 2, "", "")
    assert books.head(AT) == move and books.history()[-1] == move
    with pytest.raises(StoreError, match="points at no release") as told:
        books.resolve(AT)
    assert "bob: harm" in told.value.where


def test_what_was_live_when_knows_of_the_withdrawal(books):
    first = books.publish(release(), FILES)
    books.point(AT, first, passed())
    books.withdraw(AT, who="bob", why="harm")
    assert books.live_at(AT, datetime(2026, 11, 24, 12, 1, tzinfo=UTC)).release == first
    assert books.live_at(AT, datetime(2026, 11, 24, 13, tzinfo=UTC)).release == ""


def test_a_withdrawn_pointer_may_move_again_and_needs_no_verdict_to_go_back(books):
    first = books.publish(release(), FILES)
    books.point(AT, first, passed())
    books.withdraw(AT, who="bob", why="harm")
    assert books.roll_back(AT, who="bob", why="it was not its fault").release == first
    assert books.resolve(AT).digest == first


def test_to_withdraw_what_stands_at_nothing_is_no_move(books):
    assert books.withdraw(AT, who="bob", why="harm") is None
    books.point(AT, books.publish(release(), FILES), passed())
    books.withdraw(AT, who="bob", why="harm")
    assert books.withdraw(AT, who="bob", why="again") is None
    assert len(books.history()) == 2


def test_nobody_can_be_led_to_nothing_by_an_empty_digest(books):
    with pytest.raises(StoreError):
        books.point(AT, "", passed())


def test_back_is_there_and_back_again(books):
    first, second = (books.publish(release(made_at=at), FILES) for at in ("1", "2"))
    for digest in (first, second):
        books.point("flights@live", digest, passed())
    assert books.roll_back("flights@live", who="bob", why="slow").release == first
    assert books.roll_back("flights@live", who="bob", why="no").release == second


def test_a_pointer_that_had_one_release_has_none_to_go_back_to(books):
    books.point("flights@live", books.publish(release(), FILES), passed())
    for address in ("flights@live", AT):
        with pytest.raises(StoreError, match="no other release"):
            books.roll_back(address, who="bob", why="slow")


def test_back_to_what_was_tampered_with_is_refused(books):
    first, second = (books.publish(release(made_at=at), FILES) for at in ("1", "2"))
    for digest in (first, second):
        books.point("flights@live", digest, passed())
    (books.folder / "flights" / first[7:] / "notes.txt").write_bytes(b"other")
    with pytest.raises(Refused, match="was changed"):
        books.roll_back("flights@live", who="bob", why="slow")
    assert books.head("flights@live").release == second
