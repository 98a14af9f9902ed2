"""Tasks: a dataset, a teacher and a student. One file each, found by folder scan."""
