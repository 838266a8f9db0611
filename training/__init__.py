"""Training programs, installed as mytalk_training: a room a model, and what they share."""
