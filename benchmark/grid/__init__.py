"""Many runs: what is missing, shared out, executed.

In reading order: `agenda` (what there is to do), `sharing` (several grids on one folder),
`execution` (the jobs executed), `executors` (where: this process, several, a Ray cluster).
"""
