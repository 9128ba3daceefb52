"""Classical models on the same splits: what a network has to better before anybody needs one."""
