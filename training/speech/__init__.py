"""What of the speech stage is trained here."""
