"""Pages of the dashboard: `plugin` is a `Page`."""

KIND = "page"
