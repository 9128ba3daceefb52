"""The embedded phantom cohort: MRI-like scans made from the MNI152 template, with planted effects of known strength."""
