"""Orders and errors on their way between the processes of a fleet."""

from __future__ import annotations

import socket

import pytest

from headway.core.errors import Refused, StoreError
from headway.serving.workers.channel import Channel, CommandResult, ModelCommand, RemoteError, WorkerReady
from headway.serving.workers.child import ChildProcess
from headway.serving.workers.dispatcher import Dispatcher


@pytest.fixture
def workers():
    """Three workers as their supervisor has them, and the ends of their lines that are theirs."""
    pairs = [socket.socketpair() for _ in range(3)]
    yield [(ChildProcess(number, 0, Channel(ours)), Channel(theirs)) for number, (ours, theirs) in enumerate(pairs)]
    for pair in pairs:
        for end in pair:
            end.close()


def test_an_order_is_answered_once_all_have_done_it_with_the_error_of_one(workers):
    rounds, children = Dispatcher(), [child for child, _ in workers]
    rounds.begin(ModelCommand(7, "flights@live", True), children[1], children)
    for number, (_, line) in enumerate(workers):
        assert line.hear() == [ModelCommand(0, "flights@live", True)]
        rounds.done(children[number], CommandResult(0, RemoteError.of(Refused("no")) if number == 0 else None))
    ((answer,),) = [workers[1][1].hear()]
    assert (answer.number, type(answer.failure.error), answer.failure.error.what) == (7, Refused, "no")


def test_an_order_that_somebody_died_over_is_not_done(workers):
    rounds, children = Dispatcher(), [child for child, _ in workers]
    rounds.begin(ModelCommand(7, "flights@live", False), children[0], children)
    rounds.done(children[0], CommandResult(0))
    rounds.gone(children[2])
    rounds.done(children[1], CommandResult(0))
    assert workers[0][1].hear()[-1].failure == RemoteError.of(
        StoreError("a worker ended before it had done so", hint="ask once more")
    )
    rounds.gone(children[1])


@pytest.mark.parametrize("error", [Refused("a", where="b", hint="c"), StoreError("x")])
def test_an_error_of_ours_arrives_as_it_was_and_another_by_its_words(error):
    told = RemoteError.of(error).error
    assert (type(told), told.what, told.where, told.hint) == (type(error), error.what, error.where, error.hint)
    assert str(RemoteError.of(ZeroDivisionError("by zero")).error) == "ZeroDivisionError: by zero"


def test_a_line_gives_whole_messages_however_they_come_and_ends_with_the_other_end(workers):
    child, line = workers[0]
    child.line.socket.sendall(b'{"type":"Rea')
    assert line.hear() == []
    child.line.socket.sendall(b'dy"}\n{"type":"Ready"}\n')
    assert line.hear() == [WorkerReady(), WorkerReady()]
    line.say(WorkerReady())
    line.close()
    assert child.line.hear() in ([WorkerReady()], None) and child.line.hear() is None
    child.line.say(WorkerReady())
