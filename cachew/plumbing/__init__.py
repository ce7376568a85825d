"""What every part stands on; imports nothing above."""
