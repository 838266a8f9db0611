"""The renderers' work on pixels in PyTorch, a batch of frames at once, on any device.

A file is the twin of that of its name in the rooms about it, which does the same for one frame with OpenCV.
"""
