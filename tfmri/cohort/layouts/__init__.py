"""Ways to lay out scans, a file each; found (scans), people (tables), matching (ids), layout (the join) serve all."""
