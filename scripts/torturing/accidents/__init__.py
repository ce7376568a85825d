"""What happens to servers: each accident by its name, done at a moment that chance chooses, and what ends it."""
