"""Selective answering: the share of wrong answers that is allowed, and who answers the other rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from headway.core.record import Record, about
from headway.core.settings_section import SettingsSection


class RemoteStage(Record, frozen=True, kw_only=True):
    """A model elsewhere that answers what the released model does not.

    With the protocol `openai` it is behind an OpenAI-compatible endpoint, and gets the texts of a message with personal
    data replaced. With `headway` it is a model of another headway server, and gets the whole row. Both are asked
    over https, and only if `url` is set. Costs are in the currency of [cost]. Its key is read from
    HEADWAY_ANSWER_REMOTE_KEY.
    """

    url: str = ""
    protocol: Literal["openai", "headway"] = "openai"
    model: str = ""
    deadline_s: Annotated[float, Meta(gt=0)] = 10.0
    queue: Annotated[int, Meta(ge=1)] = 100
    cost_per_call: Annotated[float, Meta(ge=0)] = 0.0
    spend_cap_per_day: Annotated[float, Meta(ge=0)] = 0.0

    @property
    def identity(self) -> str:
        """Digest of what is asked, by which answers are audited; "" for a headway server, whose certificate counts."""
        endpoint = f"{self.url} {self.model}".encode()
        return hashlib.sha256(endpoint).hexdigest()[:16] if self.protocol == "openai" and self.url else ""


class AnswerSection(SettingsSection, frozen=True, kw_only=True):
    """Selective answering: the share of wrong answers that is allowed, and who answers the other rows."""

    table: ClassVar[str] = "answer"
    secret_variables: ClassVar[tuple[str, ...]] = ("HEADWAY_ANSWER_REMOTE_KEY",)

    secrets: ClassVar[Mapping[str, str]] = {
        "remote": "HEADWAY_ANSWER_REMOTE_KEY, or HEADWAY_ANSWER_REMOTE_KEY_FILE",
    }

    limit: Annotated[
        float,
        Meta(
            description="Largest share of the model's own answers that may be wrong; 0: the model answers every row.",
            ge=0,
            lt=1,
        ),
    ] = 0.0
    level: Annotated[
        float, Meta(description="Probability with which a certified threshold keeps the limit.", ge=0.5, lt=1)
    ] = 0.95
    rule: Annotated[
        Literal["", "probability", "margin", "entropy", "odds"],
        about("What the confidence is computed from; empty: the rule with the largest coverage on `validation`."),
    ] = ""
    reject: Annotated[
        str, about("Class of the target for messages that no answer applies to, such as oos; it is never answered.")
    ] = ""
    per_class: Annotated[
        bool,
        about("Answer only classes that have a certificate of their own; else one certificate is for all of them."),
    ] = False
    cost_per_message: Annotated[
        float,
        Meta(description="Cost of a message that people answer, in the currency of [cost]; 0: unknown.", ge=0),
    ] = 0.0
    stages: Annotated[
        tuple[Literal["remote", "people"], ...],
        about("Who answers what the model does not, in this order."),
    ] = ("people",)
    forwarded_by: Annotated[
        str,
        about("Release (NAME@live) of a device that forwards rows to this model; the certificate is of both together."),
    ] = ""
    audit_share: Annotated[
        float,
        Meta(description="Share of the answers of the model and of the remote stage that people check.", ge=0, le=1),
    ] = 0.02
    absent: Annotated[
        Literal["hold", "apologise", "uncertified"],
        about(
            "What a caller gets when no stage answers in time: hold (nothing yet), apologise (the text `apology`), or "
            "uncertified (the model's answer, marked so)."
        ),
    ] = "hold"
    apology: Annotated[str, about("Text of the reply when no stage answers.")] = (
        "Thank you for your message. A person will answer it."
    )
    remote: Annotated[
        RemoteStage,
        about(
            "Model that is asked elsewhere: url, protocol (openai, or headway for another headway server), model, "
            "deadline_s, queue, cost_per_call, spend cap."
        ),
    ] = RemoteStage()

    def exposure(self, path: Callable[[str], Path]) -> dict[str, str]:
        """Return what it opens or asks: addresses, and digests of files."""
        return {"answer.remote": self.remote.url}


plugin = AnswerSection
