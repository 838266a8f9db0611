"""The network that tells what stands before a face: faces, hands and other things laid over them."""
