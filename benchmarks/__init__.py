"""Measurements of the running server, side by side with what it is compared to. ``python -m benchmarks`` runs them."""
