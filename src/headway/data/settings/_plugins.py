"""Settings of this package: one section of headway.toml a file."""

KIND = "settings"
