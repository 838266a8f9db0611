"""What stands before a mouth and stays on top: told from the person's usual face, kept pixel by pixel."""
