"""The loaded model and its stages: video and speech in, lip-synced video out."""

from .lip_sync import LipSync, lip_sync
from .report import Report
from .write import write

__all__ = ["LipSync", "Report", "lip_sync", "write"]
