"""How long the parser takes for a query of one line and one of twenty: `python benchmarks/parse_sql.py`."""

from __future__ import annotations

import statistics
import timeit

from server.sql.parser import parse_statement

ONE_LINE = "SELECT inception({url: url}) AS * FROM images WHERE rowName() != 'x' LIMIT 10"
TWENTY_LINES = """\
SELECT
    t.user AS user,
    count(*) AS visits,
    sum(t.price * t.amount) / count(t.amount) AS mean_price,
    latest_timestamp(t.price) AS seen,
    CASE WHEN max(t.price) > 100 THEN 'rich' ELSE 'poor' END AS class,
    horizontal_sum({t.x, t.y, z: t.z + 1}) AS total,
    CAST (min(t.code) AS integer) AS code,
    {u.* EXCLUDING (password, secret*)} AS profile,
    score({features: {u.* EXCLUDING (label)}})[score] AS score
NAMED t.user + '-' + CAST (t.day AS string)
FROM (SELECT * FROM visits WHERE day BETWEEN 1 AND 31) AS t
    LEFT JOIN users AS u ON t.user = u.rowName() AND u.active = 1
WHEN value_timestamp() > TIMESTAMP '2015-01-01'
WHERE t.price IS NOT NULL AND t.kind IN ('a', 'b', 'c')
    AND NOT (t.name LIKE '%test%' OR t.name LIKE 'tmp_')
GROUP BY t.user, t.day, date_trunc('month', t.at)
HAVING count(*) > 3
ORDER BY count(*) DESC, t.user
LIMIT 100 OFFSET 10
"""


def milliseconds(text: str, *, repeats: int = 5, number: int = 200) -> float:
    """Median time of one parse."""
    times = timeit.repeat(lambda: parse_statement(text), repeat=repeats, number=number)
    return statistics.median(times) / number * 1000


def main() -> None:
    for name, text in (("one line", ONE_LINE), ("twenty lines", TWENTY_LINES)):
        print(f"{name:>12}: {milliseconds(text):.3f} ms")


if __name__ == "__main__":
    main()
