"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no finding: time is measured in bench/.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
