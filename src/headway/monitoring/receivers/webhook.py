"""Post alerts to a URL, as JSON or in the format of Slack."""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from headway.core.alerting import Alert
from headway.core.errors import ConfigError
from headway.core.outbound import open_url
from headway.core.record import Record
from headway.core.urls import is_secure
from headway.monitoring.alerts.receiver import DeliveryFailed, ReceiverContext, shorten

TIMEOUT_S = 10.0
MAX_RESPONSE_BYTES = 65_536
MAX_TEXT = 2_000
SYMBOLS = {"firing": ":red_circle:", "resolved": ":white_check_mark:", "test": ":information_source:"}


class WebhookSettings(Record, frozen=True, kw_only=True):
    """Settings of a webhook.

    Attributes
    ----------
    url : str
        Where to post. A URL that is a secret is read from the variable HEADWAY_ALERT_<RULE>_URL instead.
    format : {"json", "slack"}
        Form of the body.
    """

    url: str = ""
    format: Literal["json", "slack"] = "json"


class Webhook:
    """Post each alert to one URL, follow no redirect, and send a token if the environment has one."""

    def __init__(self, context: ReceiverContext) -> None:
        settings = context.read_settings(WebhookSettings)
        self._format = settings.format
        self._url = settings.url or context.secret("URL")
        self._token = context.secret("TOKEN")
        if not self._url:
            hint = f'settings = {{ url = "https://..." }}, or {context.variable("URL")} in the environment'
            raise ConfigError("a webhook needs a URL", where=context.where, hint=hint)
        try:
            parts = urlsplit(self._url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address or not self._url.isascii() or not self._url.isprintable() or " " in self._url:
            raise ConfigError("the URL of a webhook is not an address", where=context.where, hint="https://HOST/PATH")
        if parts.username or parts.password:
            hint = f"send a token instead: {context.variable('TOKEN')} in the environment"
            raise ConfigError("the URL of a webhook holds a password", where=context.where, hint=hint)
        if self._token and not is_secure(self._url):
            raise ConfigError("a token is sent over https only", where=context.where, hint="https://HOST/PATH")

    @property
    def address(self) -> str:
        """Scheme, host and port of the URL; its path may be a secret."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc}"

    def send(self, alert: Alert) -> None:
        """Post an alert; any status but 2xx is a failure."""
        headers = {"Content-Type": "application/json", "User-Agent": "headway", "Idempotency-Key": alert.id}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self._url, encode(alert, self._format), headers, method="POST")
        try:
            with open_url(request, timeout_s=TIMEOUT_S) as response:
                response.read(MAX_RESPONSE_BYTES)
        except urllib.error.HTTPError as error:
            error.close()
            raise DeliveryFailed(f"{self.address} answered with status {error.code}") from None
        except (OSError, HTTPException, ValueError) as error:  # their texts may hold the URL
            raise DeliveryFailed(f"{self.address} cannot be reached: {_reason(error)}") from None


def encode(alert: Alert, form: str) -> bytes:
    """Return the body of a request."""
    if form == "json":
        return msgspec.json.encode({"version": 1, **msgspec.to_builtins(alert)})
    title = f"{SYMBOLS[alert.state]} *{_slack(alert.project)}*: {_slack(alert.condition)} {alert.state}"
    link = f"\n<{_slack(alert.link)}|Open the dashboard>" if alert.link else ""
    text = f"{title}\n{_slack(shorten(alert.summary, at_most=MAX_TEXT))}{link}"
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    return msgspec.json.encode({"text": text, "blocks": [section]})


def _slack(text: str) -> str:
    """Escape the three characters that Slack reads as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _reason(error: BaseException) -> str:
    """Return why a server could not be reached, in words that hold neither its address nor what was sent."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return "it did not answer as HTTP does"


plugin = Webhook
