"""Stores of pointers and records, one file each."""

KIND = "state"
