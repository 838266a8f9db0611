"""The canonical square that a face is cut into: its windows, masks and triangles, and how they are warped."""
