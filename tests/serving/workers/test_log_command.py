"""`headway log` lists the batches that a server put aside, and imports them."""

from __future__ import annotations

import json

import pytest
from tests.serving.workers.test_log_writer import LOADED, Logging, entry

from headway.cli import main as cli
from headway.storage import traffic


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cli.main(["log", *words])
    return ended.value.code, capsys.readouterr().out


def test_batches_are_listed_imported_and_counted(tmp_path, capsys):
    project = ("--project", str(tmp_path))
    (tmp_path / "headway.toml").write_text('[project]\nname = "flights"\n')
    assert run(capsys, *project) == (0, "no batch is put aside\n")
    log, folder = Logging(tmp_path / ".headway"), traffic.log_folder(tmp_path / ".headway", "flights", LOADED.digest)
    folder.parent.mkdir(parents=True)
    folder.write_text("no folder")
    log.logs[0].add(entry(4))
    log.log_writer.write()
    code, out = run(capsys, *project)
    assert code == 0 and "4 rows of flights, 1970-01-01 00:00:00 to 1970-01-01 00:00:00 UTC: waiting" in out
    assert out.endswith("waiting: 4 rows in 1 batch\nnext: headway log import\n")
    code, out = run(capsys, "import", *project)
    assert code == 1 and "failed: 4 rows in 1 batch" in out
    folder.unlink()
    code, out = run(capsys, "import", "--json", *project)
    assert code == 0 and [(batch["status"], batch["rows"]) for batch in json.loads(out)] == [("imported", 4)]
    assert run(capsys, "import", *project) == (0, "no batch is put aside\n") and len(log.read_saved()) == 4


def test_a_file_that_cannot_be_read_is_named_and_fails(tmp_path, capsys):
    (tmp_path / "headway.toml").write_text('[project]\nname = "flights"\n')
    aside = traffic.aside_folder(tmp_path / ".headway", "flights")
    aside.mkdir(parents=True)
    (aside / "notes.txt").write_text("mine")
    code, out = run(capsys, "--project", str(tmp_path))
    assert code == 1
    assert "log/flights/aside/notes.txt: the log writer has put no file of this name aside\nfailed: 0 rows in 1" in out
