"""Where jobs are executed: this process or several (`local`), or a Ray cluster (`ray_cluster`)."""
