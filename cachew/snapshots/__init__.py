"""Archives made of mirrors."""
