"""The contract of a page: its views and actions, what they are given, and what they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.responses import Response

from headway.core.action import PersonAction
from headway.core.errors import HeadwayError
from headway.dashboard.access.sessions import Role, Session
from headway.dashboard.resources import Dashboard
from headway.registry.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a view or an action is given.

    Attributes
    ----------
    dashboard
        Projects, settings and the process for heavy work.
    session
        Who is signed in.
    path
        Parameters of the path, by name.
    query, form
        Parameters of the address, and fields of the form; the last value of each name.
    lists
        All values of each field of the form or of the address, for those that repeat.
    cookies
        Cookies of the request.
    address, base
        Address of the caller's machine, and that by which they reached the dashboard, such as `http://127.0.0.1:8090`.
    """

    dashboard: Dashboard
    session: Session
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    address: str = ""
    base: str = ""

    @property
    def project(self) -> Project:
        """The project of the path's `model`; raises NotFound if the dashboard has none of that name."""
        return self.dashboard.project(self.path["model"])

    def save_action(self, action: str, *, subject: str = "", reason: str = "", outcome: str = "") -> None:
        """Save what the person did to the path's model, for the audit page."""
        project, at = self.project, datetime.now(UTC).isoformat(timespec="seconds")
        project.save(
            PersonAction(
                name=project.name,
                at=at,
                who=self.session.user,
                role=self.session.role,
                action=action,
                subject=subject,
                reason=reason,
                outcome=outcome,
            )
        )
        self.dashboard.live.forget()

    def reason(self) -> str:
        """Return the reason that the form gives for an action; raises BadInput if it is empty or too long."""
        return self.text("reason", what="a reason, which the history keeps", at_most=MAX_REASON)

    def text(self, name: str, *, what: str, at_most: int = 256) -> str:
        """Return a field of the form, stripped; raises BadInput if it is empty or too long."""
        text = self.form.get(name, "").strip()
        if not text:
            raise BadInput(f"{what} is missing", hint="fill in the field and send the form again")
        if len(text) > at_most:
            raise BadInput(f"{what} has {len(text)} characters, the limit is {at_most}", hint="shorten it")
        return text


MAX_REASON = 1000


class BadInput(HeadwayError):
    """A field of a form or a parameter of an address is missing or invalid."""


class FormTooLarge(BadInput):
    """A form has more bytes than are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A template of `templates/`, with its values."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Another page, which shows a message about what was done."""

    path: str
    message: str = ""


Reply = Rendered | Redirect | Response
Handler = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class View:
    """A page that is read (GET), for a role and all above it.

    `in_background` is what an open page asks for by itself, which does not prolong a session.
    """

    path: str
    handler: Handler
    role: Role = "viewer"
    in_background: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """A form that is sent (POST); it changes something."""

    path: str
    handler: Handler
    role: Role = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A subject of the dashboard: its views and actions, and where it stands in the navigation.

    With `tab`, it is a tab of every model, at the first view's path; with `title`, an entry of the top navigation.
    Paths of a model begin with `/models/{model}`.
    """

    views: Sequence[View]
    actions: Sequence[Action] = ()
    title: str = ""
    tab: str = ""
    order: int = 100
