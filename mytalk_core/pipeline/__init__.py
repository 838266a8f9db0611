"""The loaded model and its stages: video and speech in, lip-synced video out."""

from .lip_sync import lip_sync
from .model import LipSync
from .report import Report
from .write import write

__all__ = ["LipSync", "Report", "lip_sync", "write"]
