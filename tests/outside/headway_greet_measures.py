"""What a greeting is judged by: the measures of the tests, installed like any third-party package."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="greetings",
        title="Rows that are greeted",
        explanation="Share of the rows that got a greeting.",
        symbol="greeted",
        violation="It greets fewer rows than allowed",
        is_share=True,
        is_quality=True,
    ),
)
