"""One git exchange over smart HTTP."""
