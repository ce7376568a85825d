"""``scripts/soak``: a long busy time, and what grows during it."""
