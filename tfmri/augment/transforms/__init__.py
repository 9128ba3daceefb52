"""The transforms that recipes know by name: their settings, ranges and sources."""
