"""MLDB in Python: data, SQL, models and web apps in one server."""

__version__ = "0.1.0"
