"""How often the statistics err: simulations that write ``docs/statistics.md``.

Reading order: `worlds` draws scores of which the truth is known, `studies` counts what the tests
and intervals of `benchmark.analysis.statistics` make of them, `tables` writes the counts down, and
`page` is the text around them.
"""
