"""What builtin functions compute, on plain Python values; the binder declares and vectorises them."""
