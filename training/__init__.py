"""Training programs; installed as mytalk_training."""
