"""Teachers, critics and metadata: trained or collected once, kept, verified."""
