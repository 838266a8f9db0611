"""Published weights and meshes -> this project's files."""
