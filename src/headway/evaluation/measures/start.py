"""Measures of a new process."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="start.seconds", title="Cold start", explanation="From the start of a process to its first prediction."
    ),
    Measure(
        name="start.memory_mb", title="Memory of a process", explanation="Resident memory after the first prediction."
    ),
)
