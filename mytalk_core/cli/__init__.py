"""The `mytalk` command: one file a subcommand, each brings `add`, which registers it."""
