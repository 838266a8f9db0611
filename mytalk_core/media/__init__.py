"""Video and sound in and out: clips, speech, timelines, writers."""
