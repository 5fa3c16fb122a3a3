"""The model worker: the one process in which TensorFlow lives. The host's side is ``server.learning.model_worker``."""
