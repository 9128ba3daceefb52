"""Architectures, one per file, each a function from shape and number of outputs to a Keras model."""
