"""A released model in front of a large one: it answers what its certificate covers, and declines the rest.

The form is that of classifier plugins of gateways such as litellm: `await classify(context)` returns a class, or None
to decline; the gateway goes on as if it had no classifier.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from headway import pipeline
from headway.api.model import Model
from headway.core.answering import AnswerDecider
from headway.core.errors import ConfigError, HeadwayError
from headway.registry.project import open_project
from headway.registry.withdrawals import withdrawn_classes
from headway.serving.client import Client

REFRESH_S = 1.0
"""Time after which a pointer that moved and a certificate that was withdrawn are seen."""
_TEXT = "text"
_NEVER = object()
_log = logging.getLogger(__name__)


class GatewayClassifier:
    """Answers texts with a release that answers selectively; None hands a text on to the large model.

    Without `server` the release is opened in this process and verified. Nothing is logged then, so no audit can show
    that its answers became wrong. With `server` it is asked over HTTP, and its log, audits and metrics have every text.

    Parameters
    ----------
    reference : str
        A pointer or digest, such as ``"shop@live"``, or with `server` the name of its model, ``"shop"``.
    project : str or Path
        Folder with headway.toml.
    server : str
        Address of `headway serve`, such as ``"http://127.0.0.1:8080"``; empty: in this process.
    api_key : str
        Key of the server with the scope `predict`.
    tiers : mapping of str to str, optional
        What to return for each class, such as the tier of a gateway; a class that is not in it is handed on. By default
        the class itself is returned.
    """

    def __init__(
        self,
        reference: str,
        *,
        project: str | Path = ".",
        server: str = "",
        api_key: str = "",
        tiers: Mapping[str, str] | None = None,
    ) -> None:
        self._source = _Server(reference, server, api_key) if server else _Release(reference, Path(project))
        self._tiers = tiers
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: object) -> Self:
        """Return the classifier itself: gateways copy their settings, and an open release is shared."""
        return self

    def answer(self, text: str, *, key: str = "") -> str | None:
        """Return the answer to a text, or None if the large model must be asked.

        Parameters
        ----------
        text : str
        key : str
            Key of the text in the log of the server, by which people label it.

        Returns
        -------
        str or None

        Raises
        ------
        HeadwayError
            If the release or the server cannot answer.
        """
        with self._lock:
            found = self._source.answer(text, key)
        return found if found is None or self._tiers is None else self._tiers.get(found)

    async def classify(self, context: Any) -> str | None:
        """Return the answer to the last message of the user, or None to decline; an error declines, and is logged.

        Parameters
        ----------
        context : object
            Has `structured_messages` or `raw_messages`: mappings with `role` and `content`, as OpenAI's chat form has.

        Returns
        -------
        str or None
        """
        structured, raw = (getattr(context, name, None) or () for name in ("structured_messages", "raw_messages"))
        text = last_user_text(structured or raw)
        if text is None:
            return None
        try:
            return await asyncio.to_thread(self.answer, text) if self._source.may_wait else self.answer(text)
        except HeadwayError as error:
            _log.warning("the text is handed on: %s", error)
            return None


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the text of the last message if a user wrote it, and nothing but text is in it; else None."""
    last = messages[-1] if messages else {}
    content = last.get("content")
    if last.get("role") != "user" or not isinstance(content, str | list):
        return None
    if isinstance(content, str):
        return content
    texts = [part.get(_TEXT) for part in content if isinstance(part, Mapping) and part.get("type") == _TEXT]
    found = [text for text in texts if isinstance(text, str)]
    return "\n".join(found) if found and len(found) == len(content) else None


class _Release:
    """A verified release of a project, followed by its pointer."""

    def __init__(self, reference: str, folder: Path) -> None:
        self._project, self._reference = open_project(folder), reference
        self._seen: object = _NEVER
        self._until = 0.0
        self._refresh()

    @property
    def may_wait(self) -> bool:
        """Whether the next answer reads the state, and loads a release if the pointer moved."""
        return time.monotonic() >= self._until

    def answer(self, text: str, key: str) -> str | None:
        """Return the class of a text, or None."""
        if self.may_wait:
            self._refresh()
        found = self._decide(self._model.scores([text]))
        return self._classes[int(found.answer[0])] if found.is_answered[0] else None

    def _refresh(self) -> None:
        name, _, pointer = self._reference.partition("@")
        seen = self._project.state.last(name, pointer)
        if seen != self._seen:  # both are None for a digest
            bundle, engine = pipeline.load(self._project, self._reference)
            release, self._digest = bundle.release, bundle.digest
            signature = release.variant.signature
            if release.answers is None or signature.names != signature.texts or len(signature.texts) != 1:
                raise ConfigError(
                    "a classifier of texts needs one text as input, and a limit on wrong answers",
                    where=self._reference,
                    hint="headway.optimize(pipeline, texts, labels, answer_limit=0.05)",
                )
            self._plan, self._classes, self._threshold = release.answers, release.class_names, release.threshold
            self._model = Model(
                release.variant, engine, threshold=release.threshold, calibrator=release.calibrator, content=b""
            )
            self._seen = seen
        withdrawn = withdrawn_classes(self._project.state, self._plan, name=name, digest=self._digest)
        self._decide = AnswerDecider(self._plan, self._classes, threshold=self._threshold, withdrawn=withdrawn)
        self._until = time.monotonic() + REFRESH_S


class _Server:
    """A model of a server, whose only column is one of texts."""

    may_wait = True

    def __init__(self, name: str, address: str, api_key: str) -> None:
        self._name = name.partition("@")[0]
        self._client = Client(address, api_key=api_key)
        self._column = ""

    def answer(self, text: str, key: str) -> str | None:
        """Return the class of a text, or None."""
        self._column = self._column or self._client.columns(self._name)[0]
        found = self._client.infer_answers(self._name, {self._column: [text]}, key=key)
        return found.answer[0] if found.answered_by[0] == "model" else None
