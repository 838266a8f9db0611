"""The metrics: what each measures, and on which pixels."""
