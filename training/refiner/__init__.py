"""Stage two as it ships: the network of the renderer `network`."""
