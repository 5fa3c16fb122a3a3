"""What people who know other dialects of SQL write, and what is written here instead."""

from __future__ import annotations

# An unexpected word → the remedy.
WORDS = {
    "using": "write ON a.x = b.x",
    "natural": "write JOIN … ON a.x = b.x",
    "cross": "a JOIN without ON pairs all rows",
    "ilike": "write lower(x) LIKE 'a%'",
    "rlike": "write regex_search(x, 'pattern')",
    "regexp": "write regex_search(x, 'pattern')",
    "escape": "LIKE has no escape character; regex_match(x, 'pattern') is exact",
    "union": "merge(a, b) unites tables by row name, a dataset of the type union keeps all their rows",
    "intersect": "write WHERE rowName() IN (SELECT …)",
    "except": "write WHERE rowName() NOT IN (SELECT …)",
    "over": "there are no window functions",
    "filter": "write sum(CASE WHEN condition THEN x END)",
    "nulls": "NULLs come first when sorted ascending, last when descending",
    "fetch": "write LIMIT n",
    "into": "the procedure type transform writes the rows of a query into a dataset",
    "collate": "texts are compared by their bytes; write lower(x)",
    "exclude": "columns are left out by * EXCLUDING (name, …)",
    "within": "there are no percentiles; the procedure type summary.statistics has medians and quartiles",
    "qualify": "there are no window functions",
    "tablesample": "write FROM sample(t, {rows: n})",
}  # fmt: skip

# Two operators in a row → the remedy.
OPERATORS = {
    "==": "equality is written =",
    "||": "texts are joined with +",
    "::": "write CAST (x AS type)",
    "**": "write pow(x, y)",
}  # fmt: skip

# A character outside the dialect → the remedy.
CHARACTERS = {
    ";": "a query is one statement, without ;",
    "`": 'names are quoted as "name"',
    "!": "negation is written NOT",
    "#": "comments are written -- or /* */",
    "?": "parameters are written $name or $1",
}

# A first word → the remedy.
STATEMENTS = {
    "with": "put the sub-query into FROM: SELECT … FROM (SELECT …) AS name",
    "insert": "rows are recorded by POST /v1/datasets/<id>/rows",
    "update": "rows are recorded by POST /v1/datasets/<id>/rows",
    "delete": "a dataset is deleted by DELETE /v1/datasets/<id>",
    "drop": "a dataset is deleted by DELETE /v1/datasets/<id>",
    "create": "a dataset is made by PUT /v1/datasets/<id>, or by a procedure",
    "show": "GET /v1/datasets lists the datasets",
    "describe": "GET /v1/datasets/<id>/columns lists the columns",
    "explain": "GET /v1/query/plan tells how a query is run",
}

SUB_QUERY = "a sub-query stands in FROM or after IN, and is no value by itself"

_NOT_NULL = "write replace_null(x, y), or CASE WHEN x IS NULL THEN y ELSE x END"
_CHOICE = "write CASE WHEN condition THEN x ELSE y END"
_DATE_PART = "write date_part('year', x)"
_DIFFERENCE = "the difference of two timestamps is x - y"
_TIMESTAMP = "write TIMESTAMP 'text', or to_timestamp(x)"
_REPLACE = "write regex_replace(text, 'pattern', 'new')"
_SEARCH = "write regex_search(text, 'pattern')"
_COLUMNS = "write COLUMN EXPR (SELECT … WHERE …), in which columns have names, values and counts"
_ACROSS = "write horizontal_{}({{x, y}})"
_QUARTILES = "have medians and quartiles from the procedure type summary.statistics, any percentiles from bucketize"
_PARTS = "write split_part(text, ','), or tokenize(text, {splitChars: ' '})"
_OTHER_DATES = (
    "write to_timestamp(x) for ISO 8601, as 2024-12-31; bring other texts into that form before: "
    r"to_timestamp(regex_replace(x, '(\d+)\.(\d+)\.(\d+)', '$3-$2-$1')) reads 31.12.2024"
)
_RANDOM = "write rowHash() % n, which is the same for the same row, or FROM sample(t, {rows: n})"
_DATE_TEXT = "write date_part('year', x) and its like, or CAST (x AS string)"

# A function of other dialects → the remedy.
FUNCTIONS = {
    "coalesce": _NOT_NULL, "ifnull": _NOT_NULL, "nvl": _NOT_NULL,
    "if": _CHOICE, "iif": _CHOICE, "nullif": _CHOICE,
    "greatest": _ACROSS.format("max"), "least": _ACROSS.format("min"),
    "len": "write length(x)", "char_length": "write length(x)",
    "year": _DATE_PART, "month": _DATE_PART, "day": _DATE_PART, "hour": _DATE_PART, "extract": _DATE_PART,
    "datepart": _DATE_PART, "datediff": _DIFFERENCE, "date_diff": _DIFFERENCE,
    "date_add": "write x + INTERVAL '1 day'", "dateadd": "write x + INTERVAL '1 day'",
    "current_timestamp": "write now()", "getdate": "write now()", "date": _TIMESTAMP,
    "to_date": _OTHER_DATES, "parse_date": _OTHER_DATES, "strptime": _OTHER_DATES, "str_to_date": _OTHER_DATES,
    "parse_datetime": _OTHER_DATES, "parse_timestamp": _OTHER_DATES,
    "strftime": _DATE_TEXT, "to_char": _DATE_TEXT, "date_format": _DATE_TEXT, "format_date": _DATE_TEXT,
    "replace": _REPLACE, "regexp_replace": _REPLACE, "substr": _REPLACE, "substring": _REPLACE, "trim": _REPLACE,
    "regexp_matches": _SEARCH, "strpos": _SEARCH, "instr": _SEARCH, "contains": _SEARCH,
    "group_concat": "write string_agg(x, ',')", "listagg": "write string_agg(x, ',')",
    "median": _QUARTILES, "percentile": _QUARTILES, "quantile": _QUARTILES, "percentile_cont": _QUARTILES,
    "approx_quantile": _QUARTILES, "ntile": _QUARTILES,
    "split": _PARTS, "string_split": _PARTS, "str_split": _PARTS,
    "unnest": "write FROM row_dataset(x)", "explode": "write FROM row_dataset(x)",
    "array_agg": "write pivot(name, value)", "list": "write pivot(name, value)",
    "first": "write earliest(x)", "last": "write latest(x)", "any_value": "write min(x)",
    "concat_ws": "texts are joined with +",
    "random": _RANDOM, "rand": _RANDOM,
    "std": "write stddev(x)", "mean": "write avg(x)", "var": "write variance(x)",
    "approx_count_distinct": "write count_distinct(x)",
    "convert": "write CAST (x AS type)", "try_cast": "CAST (x AS type) gives NULL where it cannot convert",
    "json_extract": "write parse_json(x)[name]", "isnull": "write x IS NULL", "row_number": "rowName() tells the row",
    "exists": SUB_QUERY,
    "value_timestamp": "write latest_timestamp(x): value_timestamp() is known in WHEN alone",
    "columnName": _COLUMNS, "columnPath": _COLUMNS, "value": _COLUMNS, "rowCount": _COLUMNS,
    "groupKeyElement": "GROUP BY makes what groupKeyElement() reads",
}  # fmt: skip
