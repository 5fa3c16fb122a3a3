"""Which types there are, and the module that declares each: it is imported when the first entity of the type is made,
so that a server that starts need not wait for code that it may never use.
"""

from __future__ import annotations

from collections.abc import Mapping

from server.declarations import EntityKind

# Kind, name, module; a module lists its declarations in ``TYPES``.
BUILTIN_TYPES: Mapping[EntityKind, Mapping[str, str]] = {
    "dataset": {
        "beh": "server.datasets.beh",
        "beh.binary": "server.datasets.beh",
        "beh.binary.mutable": "server.datasets.beh",
        "beh.mutable": "server.datasets.beh",
        "continuous": "server.datasets.continuous",
        "continuous.window": "server.datasets.continuous",
        "embedding": "server.datasets.embedding",
        "joined": "server.datasets.joined",
        "merged": "server.datasets.merged",
        "sampled": "server.datasets.sampled",
        "sparse.mutable": "server.datasets.sparse",
        "sqliteSparse": "server.datasets.sqlite",
        "structured.mutable": "server.datasets.structured",
        "tabular": "server.datasets.tabular",
        "transposed": "server.datasets.transposed",
        "union": "server.datasets.merged",
    },
    "procedure": {
        "bucketize": "server.transfer.ordering",
        "classifier.experiment": "server.learning.classifier_experiment",
        "classifier.test": "server.learning.classifier_test",
        "classifier.train": "server.learning.classifier_train",
        "createEntity": "server.entities.procedures",
        "experimental.external.procedure": "server.procedures.scripts",
        "export.csv": "server.transfer.export_csv",
        "gaussianclustering.train": "server.learning.clusters",
        "import.json": "server.transfer.import_json",
        "import.text": "server.transfer.import_text",
        "kmeans.train": "server.learning.clusters",
        "melt": "server.transfer.melt",
        "mock": "server.entities.procedures",
        "null": "server.entities.procedures",
        "permuter.run": "server.procedures.control",
        "probabilizer.train": "server.learning.probabilizer",
        "randomforest.binary.train": "server.learning.random_forest",
        "ranking": "server.transfer.ordering",
        "script.run": "server.procedures.scripts",
        "serial": "server.entities.procedures",
        "split": "server.transfer.split",
        "summary.statistics": "server.transfer.summary_statistics",
        "svd.train": "server.learning.svd_types",
        "transform": "server.transfer.transform",
        "tsne.train": "server.learning.tsne_types",
    },
    "function": {
        "classifier": "server.learning.classifier_function",
        "classifier.explain": "server.learning.classifier_function",
        "embedding.neighbors": "server.learning.embedding_neighbors",
        "fetcher": "server.transfer.fetcher",
        "gaussianclustering": "server.learning.clusters",
        "kmeans": "server.learning.clusters",
        "probabilizer": "server.learning.probabilizer",
        "script.apply": "server.procedures.scripts",
        "sql.expression": "server.sql.user_functions",
        "sql.query": "server.sql.user_functions",
        "svd.embedRow": "server.learning.svd_types",
        "tensorflow.graph": "server.learning.tensorflow_graph",
        "tsne.embedRow": "server.learning.tsne_types",
    },
}
