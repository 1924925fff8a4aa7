"""Requests to a home, made from the sentence patterns of the package home-assistant-intents (Apache-2.0).

They are not messages of customers: short, without mistakes, and made from patterns, so a model knows them better than
it will know yours.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import polars as pl

from headway.core.errors import PluginError

PACKAGE = "home-assistant-intents"
INTENTS = {
    "HassTurnOn": "turn_on",
    "HassTurnOff": "turn_off",
    "HassLightSet": "light",
    "HassClimateSetTemperature": "temperature",
    "HassGetWeather": "weather",
    "HassStartTimer": "start_timer",
    "HassCancelTimer": "cancel_timer",
    "HassIncreaseTimer": "longer_timer",
    "HassDecreaseTimer": "shorter_timer",
    "HassMediaSearchAndPlay": "play",
    "HassShoppingListAddItem": "shopping",
    "HassVacuumStart": "clean",
}
WORDS: Mapping[str, Sequence[str]] = {
    "area": ("kitchen", "living room", "bedroom", "bathroom", "office", "hall", "cellar", "garden room"),
    "floor": ("ground", "first", "second", "upper"),
    "name": ("lamp", "robot", "heater", "radio", "coffee machine", "ceiling fan", "desk light", "vacuum"),
    "message": ("dinner is ready", "we leave now"),
    "search_query": ("jazz", "the news", "some piano music", "a song for children", "the album of the week"),
    "timer_name": ("pizza", "tea", "laundry", "homework", "egg"),
    "timer_command": ("turn off the radio", "open the window", "start the dishwasher"),
    "shopping_list_item": ("milk", "two lemons", "bread", "coffee beans", "apples", "rice"),
    "todo_list_item": ("call the plumber", "water the plants"),
    "zone": ("work", "school"),
}
_MAX_TRIES = 200
_TOKEN = re.compile(r"[\[\]()|;]|<\w+>|\{[^}]*\}|[^\[\]()|;<{]+")


def sample_requests(n: int, *, seed: int = 0, start: datetime = datetime(2026, 1, 1), days: int = 120) -> pl.DataFrame:
    """Return requests with columns `asked_at`, `message` and `intent`, in order of time, each text once.

    Raises PluginError without the package.
    """
    patterns, random = _patterns(), Random(seed)
    names, seen, rows = sorted(set(INTENTS.values())), set[str](), list[tuple[str, str]]()
    for number in range(n):
        intent = names[number % len(names)]
        for _ in range(_MAX_TRIES):
            text = patterns.sentence(intent, random)
            if text not in seen:
                break
        seen.add(text)
        rows.append((text, intent))
    random.shuffle(rows)
    step = timedelta(days=days) / n
    return pl.DataFrame(
        {
            "asked_at": [start + step * number for number in range(n)],
            "message": [text for text, _ in rows],
            "intent": [intent for _, intent in rows],
        }
    )


class SentencePatterns:
    """The patterns of each intent: `[a]` may be left out, one of `(a|b)` is taken, `<rule>` and `{list}` are filled."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._rules: Mapping[str, str] = content["expansion_rules"]
        self._lists: Mapping[str, Any] = content["lists"]
        self._sentences: dict[str, list[str]] = {}
        for name, intent in INTENTS.items():
            found = [text for block in content["intents"].get(name, {}).get("data", ()) for text in block["sentences"]]
            self._sentences[intent] = found

    def sentence(self, intent: str, random: Random) -> str:
        """Return a sentence of an intent."""
        words = self.fill(random.choice(self._sentences[intent]), random)
        return " ".join(words.replace(" ,", ",").split())

    def fill(self, pattern: str, random: Random) -> str:
        """Return a sentence that a pattern allows."""
        tokens = _TOKEN.findall(pattern)
        text, rest = self._choice(tokens, 0, random)
        return text if rest >= len(tokens) else text + " ".join(tokens[rest:])

    def _choice(self, tokens: Sequence[str], at: int, random: Random) -> tuple[str, int]:
        """Return one alternative of a group that begins at a token, and the index of the token that ends it."""
        found, parts = [""], False
        while at < len(tokens) and tokens[at] not in ("]", ")"):
            token = tokens[at]
            if token in ("|", ";"):
                found.append("")
                parts = parts or token == ";"
            elif token in ("[", "("):
                inner, at = self._choice(tokens, at + 1, random)
                found[-1] += inner if token == "(" or random.random() < 0.5 else ""
            else:
                found[-1] += self._filled(token, random)
            at += 1
        if parts:
            random.shuffle(found)
            return " ".join(found), at
        return random.choice(found), at

    def _filled(self, token: str, random: Random) -> str:
        if token.startswith("<"):
            return self.fill(self._rules.get(token[1:-1], ""), random)
        if token.startswith("{"):
            return self._word(token[1:-1].partition(":")[0], random)
        return token

    def _word(self, name: str, random: Random) -> str:
        """Return an item of a list: of WORDS, a number of its range, or one of its values."""
        if name in WORDS:
            return random.choice(WORDS[name])
        found = self._lists.get(name, {})
        if "range" in found:
            return str(random.randint(found["range"]["from"], found["range"]["to"]))
        values = [value if isinstance(value, str) else value.get("in", "") for value in found.get("values", ())]
        return self.fill(str(random.choice(values)), random) if values else "something"


def _patterns() -> SentencePatterns:
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise PluginError(
            f"the sample requests come from the package {PACKAGE}, which is not installed",
            where="headway init --template support",
            hint=f"pip install {PACKAGE}; or --from messages.csv --text message --target intent",
        )
    file = Path(found.submodule_search_locations[0]) / "data" / "en.json"
    return SentencePatterns(json.loads(file.read_text(encoding="utf-8")))
