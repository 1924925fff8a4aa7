"""Receivers of alerts."""

KIND = "receiver"
