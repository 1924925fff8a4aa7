"""Online store in Redis or Valkey, which the servers of a team share.

A table is one hash, `headway:online:TABLE`, with a field per key, so that it is put in place in one step, and its size
can be read. Other fields begin with a byte that no key has.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.errors import DataError, StoreError
from headway.features.online_rows import (
    MAX_BATCH,
    MAX_STRINGS,
    packed_rows,
    require_key,
    require_table_name,
    unpacked_rows,
)
from headway.storage._redis import PackedCommands, connect, packed_parts, reported_errors

ADDRESS = "redis://HOST:PORT/DB"
_ROLE = "online"
_TABLES = "headway:online"
_FORM, _PROGRESS, _NEXT = b"\xff", b"\xffprogress", b"\xffnext"
_SCANNED_ROWS = 1_000
_TIME = struct.Struct("<q")
_WIDTH = struct.Struct("<qq")  # the number of columns, and how often strings were erased
# KEYS: the table, the staged one, all tables. ARGV: "" or "staged", columns, "" or "progress", progress, then keys and
# rows. A time is compared by its two halves: a number of Lua is a double. Returns the rows stored, or -1 - columns.
_WRITE = r"""
local targets = {KEYS[2]}
if ARGV[1] == '' then
  targets = {KEYS[1]}
  if redis.call('EXISTS', KEYS[2]) == 1 then targets[2] = KEYS[2] end
end
redis.call('SADD', KEYS[3], KEYS[1])
for _, target in ipairs(targets) do
  local form = redis.call('HGET', target, '\255')
  if not form then
    redis.call('HSET', target, '\255', struct.pack('<i8i8', tonumber(ARGV[2]), 0))
  elseif struct.unpack('<i8', form) ~= tonumber(ARGV[2]) then
    return -1 - struct.unpack('<i8', form)
  end
end
local stored = 0
for number, target in ipairs(targets) do
  for i = 5, #ARGV, 2 do
    local old, is_newer = redis.call('HGET', target, ARGV[i]), true
    if old then
      local low, high = struct.unpack('<I4i4', ARGV[i + 1])
      local old_low, old_high = struct.unpack('<I4i4', old)
      is_newer = high > old_high or (high == old_high and low >= old_low)
    end
    if is_newer then
      redis.call('HSET', target, ARGV[i], ARGV[i + 1])
      if number == 1 then stored = stored + 1 end
    end
  end
end
if ARGV[3] ~= '' then redis.call('HSET', targets[1], '\255progress', ARGV[4]) end
return stored
"""
# KEYS: the table, the staged one, all tables. ARGV: "" or "staged", the number of states before, "" or "progress",
# progress, then key, "1" if there is a state, and the state: before, and after. Returns 1 if they were stored, the
# states that are there if these are others, or -1 - columns.
_REPLACE = r"""
local target, before = KEYS[1], 4 + 3 * tonumber(ARGV[2])
if ARGV[1] ~= '' then target = KEYS[2] end
redis.call('SADD', KEYS[3], KEYS[1])
local form = redis.call('HGET', target, '\255')
if not form then
  redis.call('HSET', target, '\255', struct.pack('<i8i8', 0, 0))
elseif struct.unpack('<i8', form) ~= 0 then
  return -1 - struct.unpack('<i8', form)
end
local found, is_other = {}, false
for i = 5, before, 3 do
  local state = redis.call('HGET', target, ARGV[i])
  is_other = is_other or state ~= (ARGV[i + 1] == '1' and ARGV[i + 2])
  found[#found + 1] = state
end
if is_other then return found end
for i = before + 1, #ARGV, 3 do
  if ARGV[i + 1] == '1' then
    redis.call('HSET', target, ARGV[i], ARGV[i + 2])
  else
    redis.call('HDEL', target, ARGV[i])
  end
end
if ARGV[3] ~= '' then redis.call('HSET', target, '\255progress', ARGV[4]) end
return 1
"""
# KEYS: the table, the staged one, all tables. Returns 0 if nothing is staged.
_PUBLISH = r"""
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local form, old = redis.call('HGET', KEYS[2], '\255'), redis.call('HGET', KEYS[1], '\255')
if old then
  local width = struct.unpack('<i8', form)
  local _, erased = struct.unpack('<i8i8', old)
  redis.call('HSET', KEYS[2], '\255', struct.pack('<i8i8', width, erased))
  redis.call('RENAME', KEYS[1], KEYS[1] .. ':old')
  redis.call('UNLINK', KEYS[1] .. ':old')
end
redis.call('RENAME', KEYS[2], KEYS[1])
redis.call('SADD', KEYS[3], KEYS[1])
return 1
"""
# KEYS: the table, the staged one, the set of features with a vocabulary. ARGV: keys. Returns the number of rows.
_DELETE = r"""
local count, erased = 0, 0
local features = redis.call('SMEMBERS', KEYS[3])
for _, key in ipairs(ARGV) do
  count = count + redis.call('HDEL', KEYS[1], key)
  redis.call('HDEL', KEYS[2], key)
  for _, feature in ipairs(features) do
    local codes, strings = KEYS[1] .. ':codes:' .. feature, KEYS[1] .. ':strings:' .. feature
    local code = redis.call('HGET', codes, key)
    if code then
      redis.call('HDEL', codes, key)
      redis.call('HDEL', strings, code)
      erased = erased + 1
    end
  end
end
local form = redis.call('HGET', KEYS[1], '\255')
if form and erased > 0 then
  local width, before = struct.unpack('<i8i8', form)
  redis.call('HSET', KEYS[1], '\255', struct.pack('<i8i8', width, before + erased))
end
return count
"""
# KEYS: codes by string, strings by code, the set of features. ARGV: feature, largest number, then strings.
_CODES = r"""
local next_code, codes = tonumber(redis.call('HGET', KEYS[2], '\255next') or '0'), {}
local new = 0
for i = 3, #ARGV do if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then new = new + 1 end end
if next_code + new > tonumber(ARGV[2]) then return -1 end
for i = 3, #ARGV do
  local code = redis.call('HGET', KEYS[1], ARGV[i])
  if not code then
    code = string.format('%d', next_code)
    redis.call('HSET', KEYS[1], ARGV[i], code)
    redis.call('HSET', KEYS[2], code, ARGV[i])
    next_code = next_code + 1
  end
  codes[i - 2] = tonumber(code)
end
if new > 0 then
  redis.call('HSET', KEYS[2], '\255next', string.format('%d', next_code))
  redis.call('SADD', KEYS[3], ARGV[1])
end
return codes
"""


class RedisOnlineStore:
    """Hashes of packed rows. It connects with its first call, and again after a connection was lost."""

    is_remote: ClassVar[bool] = True

    def __init__(self, address: Path | str) -> None:
        self._address = str(address)
        self._client: Any = connect(self._address, role=_ROLE, retries=1)
        self._packed = PackedCommands(self._client)
        self._write = self._client.register_script(_WRITE)
        self._replace = self._client.register_script(_REPLACE)
        self._publish = self._client.register_script(_PUBLISH)
        self._delete = self._client.register_script(_DELETE)
        self._codes = self._client.register_script(_CODES)
        self._erased: dict[str, int] = {}
        self._strings: dict[tuple[str, str, int], dict[int, str | None]] = {}

    def read(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[Floats, Ints]]:
        """Look up the keys of all tables in one round trip, or one for each 10,000 keys; see `OnlineStore.read`."""
        return self.read_with_states(requests, ())[0]

    def read_with_states(
        self, requests: Sequence[tuple[str, Sequence[str]]], states: Sequence[tuple[str, Sequence[str]]]
    ) -> tuple[list[tuple[Floats, Ints]], list[list[bytes | None]]]:
        """Look up rows and states; see `OnlineStore.read_with_states`."""
        wanted = [*requests, *states]
        found = self._fetch(wanted)
        widths = [self._width(table, reply[0]) for (table, _), reply in zip(wanted, found, strict=True)]
        contents = [reply[1:] for reply in found]
        rows = [unpacked_rows(rows, width) for rows, width in zip(contents[: len(requests)], widths, strict=False)]
        return rows, contents[len(requests) :]

    def replace_states(
        self,
        table: str,
        before: Mapping[str, bytes | None],
        after: Mapping[str, bytes | None],
        *,
        staged: bool = False,
        progress: bytes | None = None,
    ) -> Mapping[str, bytes | None] | None:
        """Store states by one script; see `OnlineStore.replace_states`."""
        require_table_name(table)
        for key in (*before, *after):
            require_key(table, key)
        arguments: list[Any] = ["staged" if staged else "", len(before)]
        arguments += ["", b""] if progress is None else ["progress", progress]
        for key, content in (*before.items(), *after.items()):
            arguments += (key.encode(), "" if content is None else "1", content or b"")
        with self._errors():
            found = self._replace(keys=[_name(table), _staged(table), _TABLES], args=arguments)
        if isinstance(found, list):
            return dict(zip(before, found, strict=True))
        if found < 0:
            raise DataError(f"the table has {-1 - found} columns, and is none of states", where=f"online table {table}")
        return None

    def write(
        self,
        table: str,
        keys: Sequence[str],
        values: Floats,
        event_us: Ints,
        *,
        staged: bool = False,
        progress: bytes | None = None,
    ) -> int:
        """Store a batch by one script, which no other command comes between; see `OnlineStore.write`."""
        arguments: list[Any] = ["staged" if staged else "", values.shape[1]]
        arguments += ["", b""] if progress is None else ["progress", progress]
        for key, at_us, content in packed_rows(table, keys, values, event_us):
            arguments += (key.encode(), _TIME.pack(at_us) + content)
        with self._errors():
            stored = int(self._write(keys=[_name(table), _staged(table), _TABLES], args=arguments))
        if stored < 0:
            raise DataError(
                f"the table has {-1 - stored} columns, got {values.shape[1]}", where=f"online table {table}"
            )
        return stored

    def progress(self, table: str, *, staged: bool = False) -> bytes:
        """Return the last `progress`; see `OnlineStore.progress`."""
        with self._errors():
            return self._client.hget(_staged(table) if staged else _name(table), _PROGRESS) or b""

    def publish(self, table: str) -> None:
        """Put the staged table in place of a table by one script."""
        with self._errors():
            done = self._publish(keys=[_name(table), _staged(table), _TABLES])
        if not done:
            raise StoreError("nothing is staged for this table", where=f"online table {table}")

    def discard_staged(self, table: str) -> None:
        """Delete the staged table, if there is one."""
        with self._errors():
            self._client.unlink(_staged(table))

    def tables(self, *, staged: bool = False) -> dict[str, int]:
        """Return the number of columns of each table; see `OnlineStore.tables`."""
        prefix = len(_name(""))
        with self._errors():
            names = sorted(name.decode()[prefix:] for name in self._client.smembers(_TABLES))
            pipeline = self._client.pipeline(transaction=False)
            for name in names:
                pipeline.hget(_staged(name) if staged else _name(name), _FORM)
            forms = pipeline.execute()
        found = {name: form for name, form in zip(names, forms, strict=True) if form is not None}
        return {table: _WIDTH.unpack(form)[0] for table, form in found.items()}

    def scan(self, table: str, *, staged: bool = False) -> Iterator[tuple[list[str], Floats, Ints]]:
        """Yield all rows of a table in no order; see `OnlineStore.scan`."""
        cursor, name = 0, _staged(table) if staged else _name(table)
        with self._errors():
            form = self._client.hget(name, _FORM)
        if form is None:
            return
        width = _WIDTH.unpack(form)[0]
        while True:
            with self._errors():
                cursor, found = self._client.hscan(name, cursor, count=_SCANNED_ROWS)
            rows = {field.decode(): row for field, row in found.items() if not field.startswith(_FORM)}
            if rows:
                yield list(rows), *unpacked_rows(list(rows.values()), width)
            if not cursor:
                return

    def delete(self, table: str, keys: Sequence[str]) -> int:
        """Delete keys and strings, and rewrite what the server has saved on disk; see `OnlineStore.delete`.

        Raises
        ------
        StoreError
            If the table does not exist.
        """
        count, fields = 0, [_field(key) for key in keys]
        with self._errors():
            if not self._client.exists(_name(table), _staged(table)):
                raise self._absent(table)
            for start in range(0, len(fields), _SCANNED_ROWS):
                part = fields[start : start + _SCANNED_ROWS]
                count += int(self._delete(keys=[_name(table), _staged(table), _features(table)], args=part))
            saved = self._client.info("persistence")
            if saved.get("aof_enabled"):
                self._client.bgrewriteaof()
            if saved.get("rdb_saves", 1) or saved.get("rdb_last_load_keys_loaded"):
                self._client.bgsave(schedule=True)
        self._strings.clear()
        return count

    def drop(self, table: str) -> None:
        """Delete a table, its staged one and its vocabulary."""
        with self._errors():
            names = [_name(table), _staged(table), _features(table)]
            for feature in self._client.smembers(_features(table)):
                names += _vocabulary(table, feature.decode())
            self._client.pipeline().unlink(*names).srem(_TABLES, _name(table)).execute()
        self._strings.clear()

    def codes(self, table: str, feature: str, strings: Sequence[str]) -> Ints:
        """Return the code of each string, and append new ones; see `OnlineStore.codes`."""
        require_table_name(table)
        distinct = list(dict.fromkeys(strings))
        for string in distinct:
            require_key(table, string)
        known: dict[str, int] = {}
        for start in range(0, len(distinct), _SCANNED_ROWS):
            part = distinct[start : start + _SCANNED_ROWS]
            with self._errors():
                codes = self._codes(
                    keys=[*_vocabulary(table, feature), _features(table)],
                    args=[feature, MAX_STRINGS, *(string.encode() for string in part)],
                )
            if codes == -1:
                raise DataError(f"feature '{feature}' has more than {MAX_STRINGS:,} different strings", where=table)
            known.update(zip(part, codes, strict=True))
        return np.array([known[string] for string in strings], dtype=np.int64)

    def strings(self, table: str, feature: str, codes: Sequence[int]) -> list[str | None]:
        """Return the string of each code, of which those seen since the last erasure need no round trip."""
        known = self._strings.setdefault((table, feature, self._erased.get(table, 0)), {})
        new = list(dict.fromkeys(code for code in codes if code not in known))
        if new:
            with self._errors():
                found = self._client.hmget(_vocabulary(table, feature)[1], [str(code) for code in new])
            known.update(
                (code, None if string is None else string.decode()) for code, string in zip(new, found, strict=True)
            )
        return [known[code] for code in codes]

    def close(self) -> None:
        """Close the connections."""
        self._packed.close()
        self._client.close()

    def _fetch(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[list[bytes | None]]:
        """Return for each table its form, and then what is stored under each key."""
        if sum(len(keys) for _, keys in requests) > MAX_BATCH:
            return [self._fetch_in_parts(table, keys) for table, keys in requests]
        commands = b"".join([_packed_lookup(table, keys) for table, keys in requests])
        with self._errors():
            return self._packed.run(commands, len(requests))

    def _fetch_in_parts(self, table: str, keys: Sequence[str]) -> list[bytes | None]:
        starts = range(0, max(len(keys), 1), MAX_BATCH)
        parts = [self._fetch([(table, keys[start : start + MAX_BATCH])])[0] for start in starts]
        return [parts[-1][0], *(content for part in parts for content in part[1:])]

    def _width(self, table: str, form: bytes | None) -> int:
        """Return the number of columns, and note how often strings were erased."""
        if form is None:
            raise self._absent(table)
        width, erased = _WIDTH.unpack(form)
        if erased != self._erased.get(table, 0):
            self._erased[table] = erased
            self._strings.clear()
        return int(width)

    def _absent(self, table: str) -> StoreError:
        hint = f"headway features materialize {table.rpartition('.v')[0] or table}"
        return StoreError("the online table does not exist", where=f"online table {table}", hint=hint)

    def _errors(self) -> AbstractContextManager[None]:
        return reported_errors(self._address, role=_ROLE)


def _name(table: str) -> str:
    return f"{_TABLES}:{table}"


def _staged(table: str) -> str:
    return f"{_TABLES}:{table}:staged"


def _features(table: str) -> str:
    return f"{_TABLES}:{table}:features"


def _vocabulary(table: str, feature: str) -> tuple[str, str]:
    """Return the names of the codes by string, and of the strings by code."""
    return f"{_TABLES}:{table}:codes:{feature}", f"{_TABLES}:{table}:strings:{feature}"


def _packed_lookup(table: str, keys: Sequence[str]) -> bytes:
    """Return the command that reads the form of a table, and keys."""
    return b"*%d\r\n%b%b" % (len(keys) + 3, _lookup_start(table), packed_parts(map(_field, keys)))


@lru_cache(maxsize=1_024)
def _lookup_start(table: str) -> bytes:
    return packed_parts((b"HMGET", _name(table).encode(), _FORM))


def _field(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


plugin = RedisOnlineStore
