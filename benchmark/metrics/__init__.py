"""How good a student is (`exam`), and how good images are (`image_quality`).

In reading order, for students: `exam` (scores on a task's test data), `classification` and
`segmentation` (their metrics). For images: `images` (pixels and classes), `extractors` (the
networks that judge them), `perceptual` (distances of pairs), `image_quality` (FID and others),
`weights` (published weight files).
"""
