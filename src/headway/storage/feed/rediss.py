"""Change feed, counters and rate limits of servers in Redis or Valkey over TLS."""

from headway.storage.feed.redis import Redis

ADDRESS = "rediss://HOST:PORT/DB"

plugin = Redis
