"""Ways to lay out scans, each in a file; found (scans), people (a table), matching (ids) and layout (joins) serve all."""
