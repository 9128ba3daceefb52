"""A Grid Engine cluster: what its site is like, jobs on it, and the way of files there and back."""
