"""Stage two as the paper has it: the appearance generator."""
