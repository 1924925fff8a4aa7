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


def test_a_withdrawn_pointer_resolves_to_no_release_and_names_who_withdrew_it(books):
    books.point(AT, books.publish(release(), FILES), passed())
    move = books.withdraw(AT, who="bob", why="harm")
    assert (move.release, move.number, move.verdict, move.answer) == ("", 2, "", "")
    assert books.head(AT) == move and books.history()[-1] == move
    with pytest.raises(StoreError, match="points at no release") as caught:
        books.resolve(AT)
    assert "bob: harm" in caught.value.where


def test_live_at_includes_the_withdrawal(books):
    first = books.publish(release(), FILES)
    books.point(AT, first, passed())
    books.withdraw(AT, who="bob", why="harm")
    assert books.live_at(AT, datetime(2026, 11, 24, 12, 1, tzinfo=UTC)).release == first
    assert books.live_at(AT, datetime(2026, 11, 24, 13, tzinfo=UTC)).release == ""


def test_a_withdrawn_pointer_returns_to_its_release_without_a_verdict(books):
    first = books.publish(release(), FILES)
    books.point(AT, first, passed())
    books.withdraw(AT, who="bob", why="harm")
    assert books.roll_back(AT, who="bob", why="it was not its fault").release == first
    assert books.resolve(AT).digest == first


def test_withdrawing_a_withdrawn_pointer_makes_no_update(books):
    assert books.withdraw(AT, who="bob", why="harm") is None
    books.point(AT, books.publish(release(), FILES), passed())
    books.withdraw(AT, who="bob", why="harm")
    assert books.withdraw(AT, who="bob", why="again") is None
    assert len(books.history()) == 2


def test_an_empty_digest_is_rejected(books):
    with pytest.raises(StoreError):
        books.point(AT, "", passed())


def test_rolling_back_twice_goes_back_twice_and_forward_is_another_call(books):
    live = "flights@live"
    releases = [books.publish(release(made_at=at), FILES) for at in "123"]
    for digest in releases:
        books.point(live, digest, passed())
    back = [books.roll_back(live, who="bob", why="slow").release for _ in range(2)]
    assert back == [releases[1], releases[0]]
    with pytest.raises(StoreError, match="no other release"):
        books.roll_back(live, who="bob", why="slow")
    with pytest.raises(Refused, match="after its current release") as refused:
        books.roll_back(live, who="bob", why="no", to=releases[2])
    assert refused.value.hint == "headway rollout forward"
    with pytest.raises(Refused, match="did not leave sha256:0 by a rollback"):
        books.roll_forward(live, who="bob", why="no", to="sha256:0")
    assert books.roll_forward(live, who="bob", why="no").release == releases[1]
    assert books.roll_forward(live, who="bob", why="no").release == releases[2]
    with pytest.raises(StoreError, match="left no release by a rollback"):
        books.roll_forward(live, who="bob", why="no")


def test_a_new_release_drops_what_was_rolled_back_before_it(books):
    live = "flights@live"
    first, second, third = (books.publish(release(made_at=at), FILES) for at in "123")
    for digest in (first, second):
        books.point(live, digest, passed())
    books.roll_back(live, who="bob", why="slow")
    back, forward = books.returns(live)
    assert (back, [update.release for update in forward]) == ([], [second])
    books.point(live, third, passed())
    back, forward = books.returns(live)
    assert ([update.release for update in back], forward) == ([first, second], [])
    assert books.roll_back(live, who="bob", why="slow").release == first
    assert books.roll_back(live, who="bob", why="further", to=second).release == second
    books.point(live, first, passed())
    assert books.roll_back(live, who="bob", why="slow").release == second


def test_the_last_updates_show_which_way_a_release_lies(books):
    live = "flights@live"
    for at in "123":
        books.point(live, books.publish(release(made_at=at), FILES), passed())
    for _ in range(2):
        books.roll_back(live, who="bob", why="slow")
    third, second = (update.release for update in books.history()[2:4])
    back, forward = books.returns(live, limit=3)
    assert (back, [update.release for update in forward]) == ([], [second, third])


def test_a_pointer_with_one_release_cannot_be_rolled_back(books):
    books.point("flights@live", books.publish(release(), FILES), passed())
    for address in ("flights@live", AT):
        with pytest.raises(StoreError, match="no other release"):
            books.roll_back(address, who="bob", why="slow")


def test_rolling_back_to_a_tampered_release_is_rejected(books):
    first, second = (books.publish(release(made_at=at), FILES) for at in ("1", "2"))
    for digest in (first, second):
        books.point("flights@live", digest, passed())
    (books.folder / "flights" / first[7:] / "notes.txt").write_bytes(b"other")
    with pytest.raises(Refused, match="was changed"):
        books.roll_back("flights@live", who="bob", why="slow")
    assert books.head("flights@live").release == second
