"""Stage one: speech to landmarks by a conditional diffusion model."""
