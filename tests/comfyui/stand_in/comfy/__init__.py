"""Stands in for ComfyUI's inner modules."""
