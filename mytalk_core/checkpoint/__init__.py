"""Weights on disk and on the Hub: config.json + model.safetensors <-> module."""
