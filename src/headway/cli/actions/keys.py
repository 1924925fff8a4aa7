"""What each action of `headway key` does and shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from headway.serving.auth.keys import Key, Scope, new_key, read_keys, revoke

Word = Literal["list", "new", "revoke"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a new key may do, and how fast."""

    scope: tuple[Scope, ...] = ("predict",)
    "For new, again for each: predict, label (send labels), metrics (read /metrics), operate (load and unload)."
    per_s: float = 0.0
    "For new: requests a second, over all workers; 0 takes [serve] key_per_s, inf sets no limit."
    burst: int = 0
    "For new: requests at once after a silence; 0 takes those of a second."


class Done(NamedTuple):
    """What an action gave, and the same for a person."""

    value: dict[str, Any]
    message: str


def carry_out(file: Path, word: Word, *, name: str, given: Given) -> Done:
    """Do one action on the keys of a file; raises ConfigError where the name is none, taken, or not there."""
    if word == "new":
        key = new_key(file, name, given.scope, per_s=given.per_s, burst=given.burst)
        return Done({"name": name, "key": key}, key)
    if word == "revoke":
        return Done({"name": name, "revoked": revoke(file, name).revoked}, f"{name} opens nothing from now on")
    keys = read_keys(file)
    return Done({"keys": keys}, _lines(keys) or "no key was made; headway key new NAME")


def _lines(keys: Mapping[str, Key]) -> str:
    width = max(map(len, keys), default=0)
    return "\n".join(f"{name:{width}}  {_line(key)}" for name, key in keys.items())


def _line(key: Key) -> str:
    limit = f", {key.per_s:g} a second" if key.per_s else ""
    burst = f", {key.burst} at once" if key.burst else ""
    gone = f", revoked {key.revoked}" if key.revoked else ""
    return f"{', '.join(key.scopes)}{limit}{burst}, made {key.made}{gone}"
