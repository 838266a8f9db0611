"""What the source lends: crops of its own mouths, which of them a frame gets, what they tell together."""
