"""Whether a cohort can be trusted: its labels, its files, its scans, and what might leak or mislead."""
