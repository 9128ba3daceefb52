"""What listens to the training loop, one listener a file."""
