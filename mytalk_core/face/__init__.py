"""Faces: detector, mesh, tracker, landmark layouts and alignment."""
