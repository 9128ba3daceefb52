"""Ways in which others lay out their scans, one a file, each turned into the table of a labels.csv."""
