"""Tables to learn from and to store, made from a seed: the same rows on every machine.

Nothing here is real data. Each imitates the shape of a well-known public set (how many levels, how skewed, how noisy),
so that figures of one machine can be taken again on another without a download.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_TEST_ROWS = 100_000
_CARRIERS, _AIRPORTS, _AIRLINE_SEED = 22, 300, 7
_HIGGS_FEATURES, _HIGGS_SEED = 28, 11


@dataclass(frozen=True)
class Split:
    """One table cut in two: rows to learn from and rows to judge by. The column ``label`` is 0 or 1."""

    train: pa.Table
    test: pa.Table


def airline(rows: int) -> Split:
    """Flights and whether they left late: six categories (12, 31, 7, 22, 300 and 300 levels) and two numbers.

    Every level has an effect of its own, drawn at random, so has each pair of carrier and origin; airports are as
    skewed as real ones. About a fifth of the flights is late, and most of that is chance.
    """
    world = np.random.default_rng(_AIRLINE_SEED)
    effects = {
        "Month": world.normal(0, 0.25, 12), "DayofMonth": world.normal(0, 0.12, 31),
        "DayOfWeek": world.normal(0, 0.2, 7), "UniqueCarrier": world.normal(0, 0.35, _CARRIERS),
        "Origin": world.normal(0, 0.4, _AIRPORTS), "Dest": world.normal(0, 0.3, _AIRPORTS),
    }  # fmt: skip
    pairs = world.normal(0, 0.35, (_CARRIERS, _AIRPORTS))
    places = world.random((_AIRPORTS, 2)) * (2500, 1200)
    popularity = _zipf(_AIRPORTS, 0.9)
    carriers = world.dirichlet(np.full(_CARRIERS, 1.5))
    random = np.random.default_rng([_AIRLINE_SEED, rows])
    count = rows + _TEST_ROWS
    codes = {name: random.integers(0, len(effect), count) for name, effect in effects.items()}
    codes["UniqueCarrier"] = random.choice(_CARRIERS, count, p=carriers)
    codes["Origin"], codes["Dest"] = random.choice(_AIRPORTS, (2, count), p=popularity)
    hour = random.beta(2.2, 1.8, count) * 19 + 5
    distance = np.hypot(*(places[codes["Origin"]] - places[codes["Dest"]]).T) + random.integers(60, 90, count)
    logit = (
        sum(effect[codes[name]] for name, effect in effects.items()) + pairs[codes["UniqueCarrier"], codes["Origin"]]
    )
    logit += 0.09 * (hour - 14) + 0.3 * np.sin(hour / 2) + 0.0001 * (distance - 1000) - 1.7
    late = random.random(count) < 1 / (1 + np.exp(-logit))
    columns = {name: _texts(name, effect, codes[name]) for name, effect in effects.items()}
    columns["DepTime"] = pa.array((hour.astype(np.int64) * 100 + (hour % 1 * 60).astype(np.int64)) % 2400)
    columns["Distance"] = pa.array(distance.astype(np.int64))
    return _split(pa.table(columns | {"label": pa.array(late.astype(np.int64))}), rows)


def higgs(rows: int) -> Split:
    """Dense numbers in the manner of the Higgs set: two classes apart only in products and norms of features."""
    world = np.random.default_rng(_HIGGS_SEED)
    mixing = world.normal(0, 1, (6, _HIGGS_FEATURES)) / np.sqrt(_HIGGS_FEATURES)
    random = np.random.default_rng([_HIGGS_SEED, rows])
    count = rows + _TEST_ROWS
    values = random.normal(0, 1, (count, _HIGGS_FEATURES)).astype(np.float32)
    values[:, 21:] = np.abs(values[:, 21:]) + 0.3 * np.abs(values[:, :7] * values[:, 7:14])
    hidden = values @ mixing.T.astype(np.float32)
    logit = 1.2 * hidden[:, 0] * hidden[:, 1] + 0.8 * np.abs(hidden[:, 2]) - hidden[:, 3] ** 2
    logit += 0.8 * values[:, 21] * values[:, 22] - 0.6 * values[:, 23] + 0.5 * np.sin(2 * hidden[:, 4])
    logit -= np.median(logit)
    label = random.random(count) < 1 / (1 + np.exp(-1.5 * logit))
    columns = {f"f{number:02}": pa.array(values[:, number].astype(np.float64)) for number in range(_HIGGS_FEATURES)}
    return _split(pa.table(columns | {"label": pa.array(label.astype(np.int64))}), rows)


def ratings(count: int, seed: int = 13) -> pa.Table:
    """Ratings in the manner of MovieLens: ``row`` (user), ``column`` (film), ``value`` (0.5 to 5), ``time``.

    About 144 ratings per user in a few sittings, a rating every 5 to 60 seconds; films are as skewed as real ones.
    Sorted by user and film, as those files are.
    """
    random = np.random.default_rng(seed)
    users = max(count // 144, 1)
    user = np.sort(random.choice(users, count, p=random.dirichlet(np.full(users, 2.0))))
    films = max(27_000 * users // 138_000, 5_000)
    film = random.choice(films, count, p=_zipf(films, 0.8))
    first = np.flatnonzero(np.diff(user, prepend=-1))
    joined = random.integers(_YEAR_1996, _YEAR_1996 + 19 * _YEAR, len(first))
    gaps = random.integers(5, 60, count) + np.where(
        random.random(count) < 0.01, random.integers(0, _YEAR // 2, count), 0
    )
    gaps[first] = 0
    elapsed = np.cumsum(gaps)
    time = np.repeat(joined - elapsed[first], np.diff([*first, count])) + elapsed
    order = np.lexsort((film, user))
    user, film, time = user[order], film[order], time[order]
    kept = np.flatnonzero((np.diff(user, prepend=-1) != 0) | (np.diff(film, prepend=-1) != 0))
    value = random.choice(np.arange(1, 11) / 2, len(kept), p=_RATING_SHARES)
    return _cells(user[kept], film[kept], value, time[kept])


def clicks(count: int, seed: int = 17) -> pa.Table:
    """A sparse log: how often a visitor (``row``) opened a page (``column``) within the minute ``time``."""
    random = np.random.default_rng(seed)
    visitors, pages = max(count // 40, 1), max(count // 200, 100)
    visitor = np.sort(random.integers(0, visitors, count))
    page = random.choice(pages, count, p=_zipf(pages, 1.0))
    time = _YEAR_1996 + 60 * (random.integers(0, 43_200, visitors)[visitor] + random.integers(0, 30, count))
    return _cells(visitor, page, random.geometric(0.7, count), time)


def documents(count: int, seed: int = 19) -> pa.Table:
    """Texts as bags of words: how often a text (``row``) has a word (``column``); a text has one time."""
    random = np.random.default_rng(seed)
    texts, words = max(count // 120, 1), 50_000
    text = np.sort(random.integers(0, texts, count))
    word = random.choice(words, count, p=_zipf(words, 1.05))
    order = np.lexsort((word, text))
    text, word = text[order], word[order]
    starts = np.flatnonzero((np.diff(text, prepend=-1) != 0) | (np.diff(word, prepend=-1) != 0))
    counts = np.diff([*starts, count])
    time = random.integers(_YEAR_1996, _YEAR_1996 + 5 * _YEAR, texts)
    return _cells(text[starts], word[starts], counts, time[text[starts]])


def sparse_cells(rows: int, columns: int, each: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the cells of a sparse matrix: about ``each`` a row, of skewed columns, in forty topics."""
    random = np.random.default_rng(29)
    row = np.repeat(np.arange(rows), each)
    column = np.minimum((random.pareto(1.1, len(row)) * columns * 0.001).astype(np.int64), columns - 1)
    topic = random.integers(0, 40, rows)[row] * (random.random(len(row)) < 0.5)
    pairs = np.unique(row * columns + (column + topic * (columns // 41)) % columns)
    return np.divmod(pairs, columns)


def vectors(rows: int, dimensions: int, seed: int = 23) -> NDArray[np.float32]:
    """Points about a hundred centres."""
    random = np.random.default_rng(seed)
    centers = random.normal(0, 1, (100, dimensions)).astype(np.float32)
    points = random.normal(0, 0.7, (rows, dimensions)).astype(np.float32)
    points += centers[random.integers(0, len(centers), rows)]
    return points


_YEAR_1996, _YEAR = 820_454_400, 31_557_600
_RATING_SHARES = np.array([1, 3, 1.5, 7, 4.5, 21, 11, 28, 8, 15]) / 100


def _cells(row: NDArray[Any], column: NDArray[Any], value: NDArray[Any], seconds: NDArray[Any]) -> pa.Table:
    times = pa.array(seconds.astype(np.int64)).cast(pa.timestamp("s")).cast(pa.timestamp("us", "UTC"))
    return pa.table({"row": row, "column": column, "value": value, "time": times})


def _split(table: pa.Table, rows: int) -> Split:
    return Split(table.slice(0, rows), table.slice(rows))


def _zipf(levels: int, exponent: float) -> NDArray[np.float64]:
    """Shares of levels that fall with their rank."""
    weights = np.arange(1, levels + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()


def _texts(name: str, levels: NDArray[np.float64], codes: NDArray[np.int64]) -> pa.Array:
    """Levels as the texts that such tables hold: ``c-7`` for months and days, letters for carriers and airports."""
    if len(levels) == _CARRIERS:
        names = [f"{chr(65 + code)}{chr(90 - code)}" for code in range(_CARRIERS)]
    elif len(levels) == _AIRPORTS:
        names = [f"{chr(65 + code // 26)}{chr(65 + code % 26)}{chr(65 + code * 7 % 26)}" for code in range(_AIRPORTS)]
    else:
        names = [f"c-{code + 1}" for code in range(len(levels))]
    return pa.array(np.array(names, object)[codes].tolist(), pa.string())
