"""Every action of the dashboard as a person does it: by its form, in a browser without scripts, checked in the store.

`ACTS` has one function for each action. It opens the page, fills in the form, sends it, and asserts what became of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Locator, Page
from starlette.routing import compile_path
from tests.browser import WITHIN_MS
from tests.dashboard import lived_in, visits
from tests.dashboard.people import RunningDashboard, running_dashboard

from headway.core.assessment import Assessment
from headway.core.labeling import Agreement, Confirmation, Correction, Suspects
from headway.core.quarantine import RowDecision
from headway.dashboard.access.users import add_user, create_link, read_users, users_file
from headway.dashboard.security import COOKIE
from headway.monitoring.approvals import load_decisions
from headway.monitoring.rollout import latest_rollout
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project
from headway.serving.auth.keys import create_key, digest, keys_file, read_keys
from headway.storage import segments, traffic

WHO, WHY, PASSWORD = "ada", "a test of the forms", "four words for ada"


@dataclass(frozen=True)
class FormUser:
    """A person whose browser runs no scripts: their page, and the dashboard that answers."""

    page: Page
    running: RunningDashboard
    posts: list[str]

    @property
    def project(self) -> Project:
        """The project that they work on."""
        return self.running.dashboard.project("small")

    def open(self, path: str) -> None:
        """Open a page of the model."""
        self.page.goto(f"/models/small/{path}")

    def form(self, button: str) -> Locator:
        """Return the first form with a button of that name, in sight."""
        own = self.page.get_by_role("button", name=button, exact=True, include_hidden=True)
        found = self.page.locator("form", has=own).first
        if not found.is_visible():
            self.page.locator("details", has=found).locator("> summary").click()
        return found

    def send(
        self,
        button: str,
        *,
        fields: Mapping[str, str] | None = None,
        choose: Mapping[str, str] | None = None,
        tick: Sequence[str] = (),
    ) -> None:
        """Fill in the form of a button, with a reason if it wants one, and press the button."""
        form = self.form(button)
        for label, text in (fields or {}).items():
            form.get_by_label(label).fill(text)
        for label, option in (choose or {}).items():
            form.get_by_label(label).select_option(option)
        for label in tick:
            form.get_by_label(label).check()
        reason = form.locator("input[name=reason]")
        if reason.count():
            reason.fill(WHY)
        self.press(form.get_by_role("button", name=button, exact=True))

    def press(self, button: Locator) -> None:
        """Press a button, and wait for the page that answers."""
        with self.page.expect_event("load"):
            button.click()

    def sees_message(self, text: str) -> None:
        """Expect a text on the page."""
        assert text in self.page.locator("main").inner_text(), self.page.locator("main").inner_text()

    def signed_in_as(self) -> str:
        """Return who this browser is signed in as, by its cookie; empty if it is not."""
        cookies = {cookie["name"]: cookie["value"] for cookie in self.page.context.cookies()}
        session = self.running.dashboard.sessions.find(cookies.get(COOKIE, ""))
        return session.user if session else ""

    def sign_out(self) -> None:
        """Forget the session in this browser only."""
        self.page.context.clear_cookies()


@contextmanager
def served_acts(folder: Path) -> Iterator[RunningDashboard]:
    """Serve the dashboard of a project in which every action is offered."""
    project = lived_in.write(folder)
    lived_in.offer_every_action(project)
    with running_dashboard(project) as running:
        yield running


def act(browser: Browser, running: RunningDashboard, path: str) -> None:
    """Do the action of a path, and check that a form of a page was sent to it; raises AssertionError."""
    address = f"http://127.0.0.1:{running.port}"
    context = browser.new_context(base_url=address, java_script_enabled=False)
    context.set_default_timeout(WITHIN_MS)
    try:
        user = FormUser(context.new_page(), running, [])
        _record_posts(context.on, user.posts)
        user.page.goto(f"/sign-in/link?secret={running.dashboard.sign_in.create_link(WHO, 'admin')}")
        user.send("Sign in")
        assert user.signed_in_as() == WHO
        ACTS[path](user)
        form = compile_path(path)[0]
        assert any(form.match(sent) for sent in user.posts), user.posts
    finally:
        context.close()


def _record_posts(on: Callable[..., None], posts: list[str]) -> None:
    on("request", lambda sent: posts.append(urlsplit(sent.url).path) if sent.method == "POST" else None)


def _sign_in(user: FormUser) -> None:
    add_user(users_file(user.project.config), "pat", "viewer", password=PASSWORD)
    key = create_key(keys_file(user.project.config), "door", ["label"])
    user.sign_out()
    user.page.goto("/audit")
    user.send("Sign in", fields={"Name": "pat", "Password": PASSWORD})
    assert user.signed_in_as() == "pat"
    user.sign_out()
    user.page.goto("/sign-in")
    keyed = user.page.locator("form", has=user.page.get_by_label("API key"))
    keyed.get_by_label("API key").fill(key)
    user.press(keyed.get_by_role("button"))
    assert user.signed_in_as() == "key door"


def _sign_in_by_link(user: FormUser) -> None:
    user.sign_out()
    address = f"/sign-in/link?secret={user.running.dashboard.sign_in.create_link('lin', 'viewer')}"
    user.page.goto(address)
    user.send("Sign in")
    assert user.signed_in_as() == "lin"
    user.sign_out()
    user.page.goto(address)
    user.send("Sign in")
    user.sees_message("The link was used already")
    assert user.signed_in_as() == ""


def _sign_out(user: FormUser) -> None:
    cookies = user.page.context.cookies()
    user.press(user.page.get_by_role("button", name="Sign out"))
    key = next(cookie["value"] for cookie in cookies if cookie["name"] == COOKIE)
    assert user.running.dashboard.sessions.find(key) is None


def _choose_password(user: FormUser) -> None:
    file = users_file(user.project.config)
    add_user(file, "eve", "operator")
    user.page.goto(f"/sign-in/link?secret={create_link(file, 'eve')}")
    user.send("Sign in")
    user.send("Save the password", fields={"New password, at least": PASSWORD, "New password again": PASSWORD})
    assert read_users(file)["eve"].hash
    user.sign_out()
    user.page.goto("/sign-in")
    user.send("Sign in", fields={"Name": "eve", "Password": PASSWORD})
    assert user.signed_in_as() == "eve"


def _decide(user: FormUser) -> None:
    user.open("approve")
    user.send("Approve (override)", tick=["I decide against the judge"])
    user.sees_message("Approved, as an override.")
    user.send("Reject")
    user.sees_message("Rejected.")
    rejected, approved = (saved.approval for saved in load_decisions(user.project)[:2])
    assert (approved.approved, approved.override, approved.who, approved.why) == (True, True, WHO, WHY)
    assert (rejected.approved, rejected.subject) == (False, approved.subject)


def _end_rollout(user: FormUser) -> None:
    registry = user.project.registry
    canary = registry.head("small@canary")
    assert canary and canary.release
    user.open("approve")
    user.send("Roll back: end the rollout")
    user.sees_message("The rollout has ended.")
    ended = registry.head("small@canary")
    assert ended and (ended.release, ended.who, ended.why) == ("", WHO, WHY)
    verdict = registry.resolve(f"small@{canary.release}").release.verdict
    registry.point("small@live", canary.release, UpdateReason(who="ann", why="a test", verdict=verdict))


def _roll_back(user: FormUser) -> None:
    registry = user.project.registry
    rollout = latest_rollout(user.project)
    if rollout and rollout.status == "running":
        _end_rollout(user)
    (first,) = registry.returns("small@live")[0]
    user.open("approve")
    user.send("Roll back", choose={"Release to go back to": first.release})
    user.sees_message("Rolled back: small is at")
    moved = registry.head("small@live")
    assert moved and (moved.release, moved.who, moved.why) == (first.release, WHO, WHY)


def _roll_forward(user: FormUser) -> None:
    registry = user.project.registry
    _roll_back(user)
    (left,) = registry.returns("small@live")[1]
    user.open("approve")
    user.send("Forward again", choose={"Release to go forward to": left.release})
    user.sees_message("Forward again: small is at")
    moved = registry.head("small@live")
    assert moved and (moved.release, moved.who, moved.why) == (left.release, WHO, WHY)


def _check_data(user: FormUser) -> None:
    before = len(user.project.records(Assessment))
    user.open("data")
    user.send("Check the data now")
    user.sees_message("Checked: ")
    found = user.project.records(Assessment)
    assert (len(found), found[-1].by) == (before + 1, WHO)


def _decide_rows(user: FormUser) -> None:
    for button, decision in (
        ("Release: these rows are right", "released"),
        ("Discard: leave these rows out", "discarded"),
    ):
        user.open("data/quarantine")
        user.press(user.page.get_by_role("link", name="rows to decide").first)
        box = user.page.get_by_label(re.compile(r"^Row \d+$")).first
        row = box.get_attribute("value")
        user.send(button, tick=[f"Row {row}"])
        user.sees_message(f"1 row is {decision}.")
        last = user.project.records(RowDecision)[-1]
        assert (last.decision, last.who, last.why, last.numbers) == (decision, WHO, WHY, (int(row or 0),))


def _import_aside(user: FormUser) -> None:
    state, live = user.project.config.state, user.project.registry.resolve("small@live")
    folder = traffic.log_folder(state, "small", live.digest)
    before = len(list(segments.segments(folder)))
    user.open("data/quarantine")
    user.send("Import them into the log")
    user.sees_message("1 batch is in the log")
    assert traffic.aside_files(state) == [] and len(list(segments.segments(folder))) == before + 1


def _shown_request(user: FormUser) -> str:
    """Return the key of the request that the page shows; empty if there is none."""
    shown = user.page.locator("input[name=key]")
    return (shown.first.get_attribute("value") or "") if shown.count() else ""


def _label(user: FormUser) -> None:
    for page in ("labels", "labels/second"):
        user.open(page)
        key = _shown_request(user)
        user.press(user.page.locator("button[name=label][value='1']"))
        user.sees_message(f"{key} is labeled 1.")
        stored = traffic.labels_of(user.project.config.state, "small", key)
        assert (stored[-1].label, stored[-1].who, len(stored)) == (1.0, WHO, 2 if "second" in page else 1)


def _choose_again(user: FormUser) -> None:
    user.open("labels")
    skipped = list[str]()
    while key := _shown_request(user):
        assert key not in skipped
        skipped.append(key)
        user.press(user.page.locator("button[name=label][value=skip]"))
    user.send("Choose again")
    assert _shown_request(user) in skipped


def _find_suspects(user: FormUser) -> None:
    before = len(user.project.records(Suspects))
    user.open("labels/suspects")
    user.press(user.page.get_by_role("button", name="Examine the labels"))
    user.sees_message("The labels were examined again.")
    assert len(user.project.records(Suspects)) == before + 1


def _review_suspect(user: FormUser) -> None:
    user.open("labels/suspects")
    if not user.page.locator("button[name=to]").count():
        user.press(user.page.get_by_role("button", name="Examine the labels"))
    for answer, kind in (("Change to", Correction), ("is right", Confirmation)):
        form = user.page.locator("form", has=user.page.locator("button[name=to]")).first
        row = form.locator("input[name=digest]").get_attribute("value")
        form.locator("input[name=reason]").fill(WHY)
        user.press(form.get_by_role("button", name=answer).first)
        (saved,) = [one for one in user.project.records(kind) if one.row == row]
        assert (saved.who, saved.why) == (WHO, WHY)


def _measure_agreement(user: FormUser) -> None:
    before = len(user.project.records(Agreement))
    user.open("labels/agreement")
    user.press(user.page.get_by_role("button", name=re.compile("^Measure")))
    user.sees_message("The agreement was measured.")
    found = user.project.records(Agreement)
    assert len(found) == before + 1 and {"ben", "carl"} <= set(found[-1].annotators)


def _create_key(user: FormUser) -> None:
    user.open("settings")
    user.send("Create the key", fields={"Name, such as": "till"}, tick=["predict:"])
    key = user.page.locator("[role=status] code").inner_text()
    made = read_keys(keys_file(user.project.config))["till"]
    assert (made.scopes, made.sha256) == (("predict",), digest(key.encode()).hex())


def _revoke_key(user: FormUser) -> None:
    create_key(keys_file(user.project.config), "lost", ["predict"])
    user.open("settings")
    user.send("Revoke the key", choose={"Key": "lost"})
    user.sees_message("The API key lost is revoked.")
    assert read_keys(keys_file(user.project.config))["lost"].revoked


def _with_person(user: FormUser, name: str) -> Path:
    file = users_file(user.project.config)
    add_user(file, name, "viewer")
    user.open("settings")
    return file


def _add_person(user: FormUser) -> None:
    user.open("settings")
    user.send("Add, and make a link", fields={"Name": "bob"}, tick=["labeller:"])
    assert read_users(users_file(user.project.config))["bob"].role == "labeller"
    link = user.page.locator("[role=status] code").inner_text()
    user.sign_out()
    user.page.goto(link)
    user.send("Sign in")
    assert user.signed_in_as() == "bob"


def _change_role(user: FormUser) -> None:
    file = _with_person(user, "dan")
    user.send("Change the role", choose={"Person": "dan", "New role": "operator"})
    assert read_users(file)["dan"].role == "operator"


def _link_person(user: FormUser) -> None:
    _with_person(user, "ken")
    user.send("Make a link", choose={"Person": "ken"})
    link = user.page.locator("[role=status] code").inner_text()
    user.sign_out()
    user.page.goto(link)
    user.send("Sign in")
    assert user.signed_in_as() == "ken"


def _remove_person(user: FormUser) -> None:
    file = _with_person(user, "max")
    user.send("Remove the person", choose={"Person": "max"})
    assert "max" not in read_users(file)


_OF = "/models/{model}"
ACTS: Mapping[str, Callable[[FormUser], None]] = {
    "/sign-in": _sign_in,
    "/sign-in/link": _sign_in_by_link,
    "/sign-out": _sign_out,
    "/account/password": _choose_password,
    f"{_OF}/approve/decide": _decide,
    f"{_OF}/approve/rollback": _roll_back,
    f"{_OF}/approve/forward": _roll_forward,
    f"{_OF}/data": _check_data,
    f"{_OF}/data/quarantine/{{file}}": _decide_rows,
    f"{_OF}/data/quarantine-log": _import_aside,
    f"{_OF}/labels": _label,
    f"{_OF}/labels/choose": _choose_again,
    f"{_OF}/labels/suspects": _find_suspects,
    f"{_OF}/labels/suspects/review": _review_suspect,
    f"{_OF}/labels/agreement": _measure_agreement,
    f"{_OF}/settings/keys/create": _create_key,
    f"{_OF}/settings/keys/revoke": _revoke_key,
    f"{_OF}/settings/people/add": _add_person,
    f"{_OF}/settings/people/role": _change_role,
    f"{_OF}/settings/people/remove": _remove_person,
    f"{_OF}/settings/people/link": _link_person,
}
_OF_MESSAGES = f"{_OF}/messages"
"""Actions of a project that reads messages; `test_messages_browser` does them, as this project reads none."""
PATHS = sorted(action.path for action in visits.actions() if not action.path.startswith(_OF_MESSAGES))
