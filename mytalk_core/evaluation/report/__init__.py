"""What an evaluation found: JSON, Markdown and one HTML page."""
