"""Scans: read, brought to RAS+, resampled, cropped around the head, normalised; once, and kept in a cache."""
