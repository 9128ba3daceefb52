"""Where in a scan a network finds its answer: attribution maps, and whether they can be trusted."""
