"""On what methods are tried: a task is a dataset (`data`), a teacher and a student (`models`).

One file holds one task or the variants of one; `registry` finds them. `base` is the contract.
"""
