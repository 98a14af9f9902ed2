"""One job to one record.

In reading order: `trial` (a run as a story), `job` (what to run, and where), `posing` (what the
method may see), `returned`, `evaluation` and `pictures` (how good the student is), `failures` (what
went wrong), `recording` (what is kept), `code` (which program it was), `states` (how a run goes
on), `samples` (images kept between runs), `replay` (a record's run again), `images` (a run's
images).
"""
