"""Commands and flags of the version before work for one more version, with a warning that names the new ones."""

from __future__ import annotations

import pytest

from headway.cli import main as cli


@pytest.mark.parametrize(
    ("former", "current"),
    [("label", "labels add"), ("drill", "policy test"), ("forget", "erase"), ("key", "api-keys")],
)
def test_a_former_command_runs_under_its_new_name(former, current, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([former, "--project", str(tmp_path)])
    err = capsys.readouterr().err
    assert ended.value.code == cli.USAGE
    assert f"warning: 'headway {former}' is now 'headway {current}'" in err
    assert "no headway.toml here" in err


def test_a_former_flag_is_read_as_the_new_one(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["watch", "--period=5", "--project", str(tmp_path)])
    err = capsys.readouterr().err
    assert "warning: '--period' is now '--interval'" in err
    assert "no headway.toml here" in err


def test_a_current_command_gives_no_warning(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["api-keys", "--project", str(tmp_path)])
    assert "warning" not in capsys.readouterr().err
