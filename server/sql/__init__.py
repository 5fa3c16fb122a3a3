"""The SQL dialect, compiled to DuckDB SQL. To read it, follow a query:

tokens, parser          text to ``tree``
scope, binder           what names mean: ``tree`` to ``bound`` values and ``relations``, each part of them SQL text
coerce, functions       what operators and functions are in DuckDB SQL
relations, sparse       the SQL that reads a dataset, for what is used of it alone
plan, engine            the whole statement, kept and run
routines                what the statement calls while it runs: macros, and Python over Arrow vectors
formats                 the result as JSON
"""
