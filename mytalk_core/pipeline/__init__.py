"""The loaded model and its stages: video and speech in, lip-synced video out."""
