"""Teachers, critics and metadata: trained or collected once, kept, verified.

In reading order: `teacher` (found or trained), `critic` (the judge of synthetic images, trained as
a teacher is), `metadata` (a teacher's activation records).
"""
