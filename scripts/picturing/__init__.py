"""Makes the pictures in docs/."""
