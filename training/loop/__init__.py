"""What every training program shares: the loop, checkpoints, order, processes."""
