"""HTTP in, bodies out."""
