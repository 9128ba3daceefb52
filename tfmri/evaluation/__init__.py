"""How good a model is: metrics with intervals by subject, the trivial predictor beside them, and figures."""
