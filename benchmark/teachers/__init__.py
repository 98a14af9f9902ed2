"""Teachers, critics and metadata: trained, imported or collected once, kept, verified.

In reading order: `teacher` (what is kept of one, and where), `training` (found or trained),
`imported` (trained elsewhere), `normalized` (behind a normalisation of its own), `critic` (the
judge of synthetic images, trained as a teacher is), `metadata` (a teacher's activation records).
"""
