"""The lip-sync expert and its scorer."""
