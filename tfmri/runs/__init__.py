"""The run directory: one folder that holds all there is to know of a run. Only this room knows the names in it."""
