"""`tfmri labels`: a labels.csv from a layout of folders."""
