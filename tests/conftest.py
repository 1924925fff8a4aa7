"""Settings for every test."""

from __future__ import annotations

import signal

from hypothesis import settings

# No deadline: a busy machine is not a failure, and bench/ measures time.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# A shell starts background jobs with SIGINT ignored, and child processes inherit that: the tests of Ctrl-C need the default.
signal.signal(signal.SIGINT, signal.default_int_handler)
