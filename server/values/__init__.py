"""The data model: paths, atoms, kinds, row batches and hashes. The lowest layer; imports nothing of ours but errors."""
