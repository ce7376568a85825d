"""``scripts/torture``: accidents at seeded random moments, and what must hold after each of them."""
