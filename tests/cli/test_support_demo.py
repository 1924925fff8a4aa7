"""The demo of messages: the certificate is withdrawn after a shift, and coverage comes back."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from rich.console import Console

from headway.cli.demo.support import run_support
from headway.core.errors import DataError

pytestmark = pytest.mark.long


def test_the_demo_withdraws_the_certificate_and_recovers(tmp_path):
    report = run_support(tmp_path / "shop", screen=Console(file=StringIO())).read_text()
    shares = [int(share) for share in re.findall(r"by itself \((\d+)%\)", report)]
    assert shares[0] > 80 and shares[-2] < 50 and shares[-1] > 80
    assert "the certificate is withdrawn for" in report
    assert "They are not messages of customers" in report
    with pytest.raises(DataError, match="has a project already"):
        run_support(tmp_path / "shop", screen=Console(file=StringIO()))
