"""What procedures share, and those that are about other procedures."""
