"""Commands and errors between the processes of a server."""

from __future__ import annotations

import socket

import pytest

from headway.core.errors import Refused, StoreError
from headway.serving.workers.channel import Channel, CommandResult, Dispatcher, ModelCommand, RemoteError, WorkerReady


@pytest.fixture
def workers():
    """The supervisor's ends of the channels of three workers, and the workers' ends."""
    pairs = [socket.socketpair() for _ in range(3)]
    yield [(Channel(ours), Channel(theirs)) for ours, theirs in pairs]
    for pair in pairs:
        for end in pair:
            end.close()


def test_a_command_is_answered_once_all_workers_are_done_with_the_error_of_one(workers):
    dispatcher, channels = Dispatcher(), [channel for channel, _ in workers]
    dispatcher.begin(ModelCommand(7, "flights@live", True), channels[1], channels)
    for number, (_, worker) in enumerate(workers):
        assert worker.receive() == [ModelCommand(0, "flights@live", True)]
        failure = RemoteError.of(Refused("no")) if number == 0 else None
        dispatcher.finish(channels[number], CommandResult(0, failure))
    ((answer,),) = [workers[1][1].receive()]
    assert (answer.number, type(answer.failure.error), answer.failure.error.what) == (7, Refused, "no")


def test_a_command_fails_if_a_worker_dies_before_it_is_done(workers):
    dispatcher, channels = Dispatcher(), [channel for channel, _ in workers]
    dispatcher.begin(ModelCommand(7, "flights@live", False), channels[0], channels)
    dispatcher.finish(channels[0], CommandResult(0))
    dispatcher.remove(channels[2])
    dispatcher.finish(channels[1], CommandResult(0))
    assert workers[0][1].receive()[-1].failure == RemoteError.of(
        StoreError("a worker ended before it carried out the command", hint="try again")
    )
    dispatcher.remove(channels[1])


@pytest.mark.parametrize("error", [Refused("a", where="b", hint="c"), StoreError("x")])
def test_an_error_of_headway_arrives_complete_and_another_with_its_message(error):
    received = RemoteError.of(error).error
    assert (type(received), received.what, received.where, received.hint) == (
        type(error),
        error.what,
        error.where,
        error.hint,
    )
    assert str(RemoteError.of(ZeroDivisionError("by zero")).error) == "ZeroDivisionError: by zero"


def test_a_channel_returns_complete_messages_however_they_arrive_and_ends_with_the_other_end(workers):
    channel, worker = workers[0]
    channel.socket.sendall(b'{"type":"Worker')
    assert worker.receive() == []
    channel.socket.sendall(b'Ready"}\n{"type":"WorkerReady"}\n')
    assert worker.receive() == [WorkerReady(), WorkerReady()]
    worker.send(WorkerReady())
    worker.close()
    assert channel.receive() in ([WorkerReady()], None) and channel.receive() is None
    channel.send(WorkerReady())
