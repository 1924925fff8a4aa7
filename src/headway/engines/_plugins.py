"""Engines that open models, one file each."""

KIND = "engine"
