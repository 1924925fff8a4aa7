"""The account of the person who is signed in: their role, and their password."""

from __future__ import annotations

from headway.core.errors import ConfigError
from headway.dashboard.access.sessions import Role
from headway.dashboard.access.sign_in import LINK, SignInRefused, TooManyAttempts
from headway.dashboard.access.users import MIN_PASSWORD
from headway.dashboard.page import Action, BadInput, Call, Page, Rendered, Reply, View
from headway.dashboard.pages.sign_in import begin
from headway.monitoring.settings.ui import UiSection

ABOUT_ROLES: dict[Role, str] = {
    "viewer": "sees models, but no rows of data",
    "labeller": "sees rows, and labels them",
    "operator": "approves, advances and rolls back",
    "admin": "also manages people and API keys",
}


def _account(call: Call) -> Reply:
    return _page(call)


def _page(call: Call, problem: str = "") -> Reply:
    settings = call.dashboard.config[UiSection]
    user = call.dashboard.sign_in.person(call.session)
    values = {
        "about_role": ABOUT_ROLES[call.session.role],
        "idle": _minutes(settings.idle_minutes),
        "longest": f"{settings.session_hours:g} hours",
        "has_password": None if user is None else bool(user.hash),
        "needs_current": user is not None and bool(user.hash) and call.session.how != LINK,
        "shortest": MIN_PASSWORD,
        "problem": problem,
    }
    return Rendered(template="account.html", values=values, status=400 if problem else 200)


def _set_password(call: Call) -> Reply:
    password = call.form.get("password", "")
    if password != call.form.get("again", ""):
        return _page(call, "The new passwords differ.")
    try:
        identity = call.dashboard.sign_in.change_password(
            call.session, call.form.get("current", ""), password, address=call.address
        )
    except (ConfigError, SignInRefused, TooManyAttempts) as error:
        return _page(call, f"{error.what[:1].upper()}{error.what[1:]}. {error.hint}".strip())
    if identity is None:
        raise BadInput("your account has no password here", hint="ask who runs your company's accounts")
    call.dashboard.sessions.end_all(identity.user, identity.how)
    return begin(call, identity, "/")


def _minutes(minutes: float) -> str:
    return f"{minutes:g} minutes"


plugin = Page(
    views=[View("/account", _account)],
    actions=[Action("/account/password", _set_password, role="viewer")],
)
