"""Names, titles and meaning of what this package measures, one file a subject."""

KIND = "measure"
