"""The documentation of the dashboard names the exact header that pages carry."""

from __future__ import annotations

from tests.house.pages import code_blocks


def test_the_documentation_names_the_exact_header(served):
    policy = served.visitor().get("/sign-in").headers["content-security-policy"]
    assert f"Content-Security-Policy: {policy}\n" in code_blocks("docs/dashboard.md", "text")
    assert "unsafe" not in policy and "default-src 'none'" in policy
