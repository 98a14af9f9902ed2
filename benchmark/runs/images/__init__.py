"""Images of finished runs: found again, measured and drawn.

In reading order: `recovered` (the images of a run, from the cache or made again), `extractors` (the
networks that judge them), `measure` (the metrics of a run), `contact_sheet` (a picture by class).
"""
