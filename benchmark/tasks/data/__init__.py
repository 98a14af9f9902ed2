"""Readers of datasets, one file each; `base` is what they return, `prepared` keeps it decoded."""
