"""Sign in and out."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import RedirectResponse, Response

from headway.dashboard.access.sessions import Role
from headway.dashboard.access.sign_in import SignInRefused
from headway.dashboard.page import Action, Call, Page, Rendered, Reply, View
from headway.dashboard.security import COOKIE


def _form(call: Call) -> Reply:
    return Rendered(template="sign_in.html", values={"next": _own_path(call.query.get("next", "/")), "problem": None})


def _link_form(call: Call) -> Reply:
    return Rendered(template="sign_in_link.html", values={"secret": call.query.get("secret", "")})


def _sign_in(call: Call) -> Reply:
    back = _own_path(call.form.get("next", "/"))
    try:
        user, role = call.dashboard.sign_in.by_key(call.form.get("key", ""))
    except SignInRefused as error:
        values = {"next": back, "problem": error}
        return Rendered(template="sign_in.html", values=values, status=HTTPStatus.UNAUTHORIZED)
    return _begin(call, user, role, back)


def _sign_in_by_link(call: Call) -> Reply:
    try:
        user, role = call.dashboard.sign_in.by_link(call.form.get("secret", ""))
    except SignInRefused as error:
        values = {"next": "/", "problem": error}
        return Rendered(template="sign_in.html", values=values, status=HTTPStatus.UNAUTHORIZED)
    return _begin(call, user, role, "/")


def _begin(call: Call, user: str, role: Role, back: str) -> Response:
    session = call.dashboard.sessions.begin(user, role)
    response = RedirectResponse(back, HTTPStatus.SEE_OTHER)
    response.set_cookie(COOKIE, session.key, httponly=True, samesite="lax", path="/")
    return response


def _sign_out(call: Call) -> Reply:
    call.dashboard.sessions.end(call.session.key)
    response = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    response.delete_cookie(COOKIE, path="/")
    return response


def _own_path(path: str) -> str:
    r"""Return a path of this dashboard; `/` for the address of another site (`//`, `/\`)."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


plugin = Page(
    views=[View("/sign-in", _form), View("/sign-in/link", _link_form)],
    actions=[
        Action("/sign-in", _sign_in),
        Action("/sign-in/link", _sign_in_by_link),
        Action("/sign-out", _sign_out, role="viewer"),
    ],
)
