"""Stage one: the identity extractor and the motion model."""
