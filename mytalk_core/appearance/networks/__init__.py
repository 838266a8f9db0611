"""The trained networks, the paper's generator and the refiner, what they read and what trains them."""
