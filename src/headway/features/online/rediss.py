"""Online store in Redis or Valkey over TLS."""

from headway.features.online.redis import RedisOnlineStore

ADDRESS = "rediss://HOST:PORT/DB"

plugin = RedisOnlineStore
