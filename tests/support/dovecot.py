"""Dovecot, an IMAP server that others wrote, with one mailbox: a process of its own on a free port."""

from __future__ import annotations

import imaplib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.monitoring.alerts.places import make_certificate, until
from tests.ports import free_port

USER, PASSWORD = "shop", "correct horse"
SETTINGS = """
{version}
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
ssl = required
first_valid_uid = 1
{mail}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""
MAIL = """
ssl_server_cert_file = {certificate}
ssl_server_key_file = {certificate}
mail_driver = maildir
mail_path = {folder}/mail
mail_home = {folder}/home
mail_uid = {owner}
mail_gid = {owner_group}
passdb static {{
  password = {password}
}}
userdb static {{
}}
"""
MAIL_2_3 = """
ssl_cert = <{certificate}
ssl_key = <{certificate}
mail_location = maildir:{folder}/mail
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={owner} gid={owner_group} home={folder}/home
}}
"""


@dataclass(frozen=True)
class Dovecot:
    """A server: its port, and the file of the authority that signed its certificate."""

    port: int
    ca: str

    def deliver(self, mail: bytes) -> None:
        """Put a mail into the inbox, unseen."""
        with self._mailbox() as box:
            assert box.append("INBOX", "", "", mail)[0] == "OK"

    def unseen(self) -> int:
        """Return how many mails are not marked as seen."""
        return len(self._found("UNSEEN"))

    def mark_unseen(self) -> None:
        """Take the mark from all mails."""
        with self._mailbox() as box:
            assert box.store("1:*", "-FLAGS", r"(\Seen)")[0] == "OK"

    def _found(self, what: str) -> list[bytes]:
        with self._mailbox() as box:
            return (box.search(None, what)[1][0] or b"").split()

    @contextmanager
    def _mailbox(self) -> Iterator[imaplib.IMAP4]:
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=60) as box:
            box.starttls(ssl.create_default_context(cafile=self.ca))
            box.login(USER, PASSWORD)
            box.select("INBOX")
            yield box


def program() -> str:
    """Return the path of the server; the test fails without it."""
    found = shutil.which("dovecot", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "no Dovecot on this machine\n  try: apt-get install dovecot-imapd"
    return found


@contextmanager
def dovecot() -> Iterator[Dovecot]:
    """Run a server that requires STARTTLS."""
    with tempfile.TemporaryDirectory(prefix="headway-dovecot-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)  # it gives up the rights of root before it opens a mailbox
        with _running(Path(name)) as server:
            yield server


@contextmanager
def _running(folder: Path) -> Iterator[Dovecot]:
    certificate, ca = make_certificate(folder)
    port = free_port()
    is_root, me = os.geteuid() == 0, pwd.getpwuid(os.geteuid())
    version = subprocess.run([program(), "--version"], check=True, capture_output=True, text=True).stdout
    is_old = version.startswith("2.3")
    named = {
        "folder": folder,
        "certificate": certificate,
        "password": PASSWORD,
        "owner": "mail" if is_root else me.pw_name,
        "owner_group": "mail" if is_root else me.pw_gid,
    }
    settings = SETTINGS.format(
        version="" if is_old else "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0",
        mail=(MAIL_2_3 if is_old else MAIL).format(**named),
        internal="dovecot" if is_root else me.pw_name,
        group="dovecot" if is_root else me.pw_gid,
        login="dovenull" if is_root else me.pw_name,
        port=port,
        **named,
    )
    if is_root:
        for part in ("mail", "home"):
            (folder / part).mkdir()
            shutil.chown(folder / part, "mail", "mail")
    file = folder / "dovecot.conf"
    file.write_text(settings)
    with subprocess.Popen([program(), "-F", "-c", str(file)], cwd=folder, start_new_session=True) as process:
        try:
            until(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, (folder / "log").read_text()
            yield Dovecot(port, str(ca))
        finally:
            process.terminate()
            process.wait(60)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
