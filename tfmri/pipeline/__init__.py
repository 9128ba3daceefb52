"""From prepared scans on disk to batches of tensors."""
