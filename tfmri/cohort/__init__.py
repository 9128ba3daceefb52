"""Who is in a study: the table of scans behind labels.csv, its splits, and the folder layouts it can be built from."""
