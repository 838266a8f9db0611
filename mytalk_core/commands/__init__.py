"""Subcommands of `mytalk` that have a file of their own: each brings `add`, which registers it."""
