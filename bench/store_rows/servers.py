"""The servers that a benchmark of stores starts: those of the tests, with their data on disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from tests.storage import postgres, redis_server, seaweed

os.environ["PGPASSWORD"] = postgres.PASSWORD  # before any process is forked
os.environ["HEADWAY_STORE_FEED_PASSWORD"] = redis_server.PASSWORD


def postgresql() -> AbstractContextManager[postgres.Postgres]:
    """Run a PostgreSQL server that flushes to disk, as by default."""
    return postgres.server(fsync=True)


def redis() -> AbstractContextManager[redis_server.RedisServer]:
    """Run a Redis server."""
    return redis_server.redis_server()


@contextmanager
def s3() -> Iterator[seaweed.Seaweed]:
    """Run a SeaweedFS server, whose address and keys are in the environment from then on."""
    with seaweed.server() as started:
        os.environ.update(started.environment)
        yield started
