"""What plugin code lives in. Imports nothing of the server."""
