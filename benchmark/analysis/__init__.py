"""Who is better: records to tables, comparisons and pages. Imports no torch, even indirectly."""
