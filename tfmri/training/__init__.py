"""Training: a plain loop over epochs and steps under tf.distribute."""
