"""Speech features from pre-trained encoders."""
