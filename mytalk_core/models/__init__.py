"""What a model is made of: presets, parts, sizes."""
