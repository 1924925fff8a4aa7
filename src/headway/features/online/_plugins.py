"""Online stores of feature views, one file each."""

KIND = "online_store"
