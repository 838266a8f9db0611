"""Stands in for ComfyUI's node API where ComfyUI is not installed: what 0.8.0 accepts, nothing newer."""
