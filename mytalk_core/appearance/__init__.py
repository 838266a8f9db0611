"""Stage two: landmarks and lip references to new lips in the source frame."""
