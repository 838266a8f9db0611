"""The lip-sync expert."""
