"""Random forests of others: ``python forests.py PEER FOLDER TREES`` prints the seconds of training and the AUC.

``FOLDER`` has ``train`` and ``test`` as Parquet (for H2O also as CSV), with a column ``label`` of 0 and 1. Starting,
reading and turning texts into numbers are not counted: each library is handed what it likes best.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEED = 1
OUR_SEED = 2  # that of classifier.train


def scikit_learn(folder: Path, trees: int, **limits: Any) -> tuple[float, float]:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score

    (train, labels), (test, truth) = _matrices(folder)
    forest = RandomForestClassifier(trees, n_jobs=-1, random_state=SEED, **limits)
    seconds = _seconds(lambda: forest.fit(train, labels))
    return seconds, float(roc_auc_score(truth, forest.predict_proba(test)[:, 1]))


def lightgbm(folder: Path, trees: int) -> tuple[float, float]:
    """The parameters that ``classifier.train`` gives to LightGBM for its configuration: the same trees come out."""
    import lightgbm as library
    import numpy as np
    from sklearn.metrics import roc_auc_score

    from benchmarks.learning import CONFIGURATION
    from server.learning.config import resolve
    from server.learning.lightgbm_trees import forest_params

    (train, labels), (test, truth) = _matrices(folder)
    params = forest_params(resolve(CONFIGURATION, ""), False, np.random.default_rng(OUR_SEED))
    texts = _text_columns(folder)

    def fit() -> None:
        nonlocal booster
        data = library.Dataset(train, labels, categorical_feature=texts, params={"verbosity": -1})
        booster = library.train(params, data, trees)

    booster: Any = None
    seconds = _seconds(fit)
    return seconds, float(roc_auc_score(truth, booster.predict(test)))


def h2o(folder: Path, trees: int) -> tuple[float, float]:
    import h2o as library
    from h2o.estimators import H2ORandomForestEstimator

    library.init(max_mem_size="8g", verbose=False, log_level="ERRR", bind_to_localhost=True)
    library.no_progress()
    try:
        frames = [library.import_file(str(folder / f"{name}.csv")) for name in ("train", "test")]
        for frame in frames:
            frame["label"] = frame["label"].asfactor()
        model = H2ORandomForestEstimator(ntrees=trees, max_depth=20, seed=SEED)
        seconds = _seconds(lambda: model.train(y="label", training_frame=frames[0]))
        return seconds, float(model.model_performance(frames[1]).auc())
    finally:
        library.cluster().shutdown()


def spark(folder: Path, trees: int) -> tuple[float, float]:
    from pyspark.ml.classification import RandomForestClassifier
    from pyspark.ml.evaluation import BinaryClassificationEvaluator
    from pyspark.ml.feature import StringIndexer, VectorAssembler
    from pyspark.sql import SparkSession

    cores = os.cpu_count() or 1
    options = {
        "spark.driver.memory": "8g",
        "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
        "spark.sql.shuffle.partitions": str(cores),
        "spark.ui.enabled": "false",
    }
    session = SparkSession.builder.master("local[*]").config(map=options).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    train, test = (session.read.parquet(str(folder / f"{name}.parquet")) for name in ("train", "test"))
    texts = [name for name, type_ in train.dtypes if type_ == "string"]
    names = [name for name in train.columns if name not in (*texts, "label")]
    bins = 32  # MLlib's default; of texts there must be one for each
    if texts:
        codes = [f"{name}_" for name in texts]
        indexer = StringIndexer(inputCols=texts, outputCols=codes, handleInvalid="keep").fit(train)
        train, test = indexer.transform(train), indexer.transform(test)
        names += codes
        bins = max(bins, *(len(labels) + 1 for labels in indexer.labelsArray))
    assembler = VectorAssembler(inputCols=names, outputCol="features")
    train, test = (assembler.transform(table).select("features", "label") for table in (train, test))
    train = train.repartition(cores).cache()
    train.count()
    # Nodes are split together as far as their histograms find room, each time in one pass over the rows, whose places
    # in the trees are kept.
    forest = RandomForestClassifier(
        labelCol="label", numTrees=trees, maxDepth=12, maxBins=bins, seed=SEED, maxMemoryInMB=2048, cacheNodeIds=True
    )
    model: Any = None

    def fit() -> None:
        nonlocal model
        model = forest.fit(train)

    seconds = _seconds(fit)
    return seconds, float(BinaryClassificationEvaluator(labelCol="label").evaluate(model.transform(test)))


PEERS: dict[str, Callable[[Path, int], tuple[float, float]]] = {
    "sklearn-depth": lambda folder, trees: scikit_learn(folder, trees, max_depth=20),
    "sklearn-leaves": lambda folder, trees: scikit_learn(
        folder, trees, max_leaf_nodes=1024, min_samples_leaf=5, max_features=0.4
    ),
    "lightgbm": lightgbm,
    "h2o": h2o,
    "spark": spark,
}


def _matrices(folder: Path) -> list[tuple[Any, Any]]:
    """Texts as the numbers of their categories; columns by name, as ``classifier.train`` has them."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pq.read_table(folder / f"{name}.parquet") for name in ("train", "test")]
    features = _features(tables[0].schema)
    matrices = [np.empty((table.num_rows, len(features)), np.float32) for table in tables]
    for number, name in enumerate(features):
        columns = [table[name].combine_chunks() for table in tables]
        if pa.types.is_string(columns[0].type):
            known = np.unique(columns[0].to_numpy(zero_copy_only=False))
            columns = [np.searchsorted(known, column.to_numpy(zero_copy_only=False)) for column in columns]
        for matrix, column in zip(matrices, columns, strict=True):
            matrix[:, number] = column
    return [(matrix, table["label"].to_numpy()) for matrix, table in zip(matrices, tables, strict=True)]


def _text_columns(folder: Path) -> list[int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(folder / "train.parquet")
    return [number for number, name in enumerate(_features(schema)) if pa.types.is_string(schema.field(name).type)]


def _features(schema: Any) -> list[str]:
    return sorted(name for name in schema.names if name != "label")


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    peer, where, count = sys.argv[1:]
    seconds, auc = PEERS[peer](Path(where), int(count))
    print(json.dumps({"seconds": seconds, "auc": auc}))
