"""The search for better settings: what is tried, by whom, and what came of it. Optuna chooses; trials are runs."""
