"""Augmentation of whole batches on the device that trains: sampled per sample from stateless seeds, resampled once."""
