"""How MLDB calls the structures that describe its types' parameters: documentation and tests ask for them by name."""

from __future__ import annotations

from typing import Final

from server.declarations import EntityType

_DATASETS: Final = {
    "beh": "BehaviorDatasetConfig",
    "beh.binary": "BehaviorDatasetConfig",
    "beh.binary.mutable": "MutableBinaryBehaviorDatasetConfig",
    "beh.mutable": "MutableBehaviorDatasetConfig",
    "continuous": "ContinuousDatasetConfig",
    "continuous.window": "ContinuousWindowDatasetConfig",
    "embedding": "EmbeddingDatasetConfig",
    "joined": "JoinedDatasetConfig",
    "merged": "MergedDatasetConfig",
    "mongodb.dataset": "Mongo::MongoDatasetConfig",
    "mongodb.record": "Mongo::MongoRecordConfig",
    "postgresql.dataset": "PostgresqlDatasetConfig",
    "postgresql.recorder": "PostgresqlRecorderDatasetConfig",
    "sampled": "SampledDatasetConfig",
    "sparse.mutable": "MutableSparseMatrixDatasetConfig",
    "sqliteSparse": "SqliteSparseDatasetConfig",
    "tabular": "TabularDatasetConfig",
    "transposed": "TransposedDatasetConfig",
    "union": "UnionDatasetConfig",
}
_FUNCTIONS: Final = {
    "classifier": "ClassifyFunctionConfig",
    "classifier.explain": "ClassifyFunctionConfig",
    "embedding.neighbors": "NearestNeighborsFunctionConfig",
    "experimental.distTable.getStats": "DistTableFunctionConfig",
    "feature_hasher": "HashedColumnFeatureGeneratorConfig",
    "fetcher": "FetcherFunctionConfig",
    "filter_stopwords": "ApplyStopWordsFunctionConfig",
    "gaussianclustering": "EMFunctionConfig",
    "html.parse": "ParseHtmlConfig",
    "http.useragent": "ParseUserAgentFunctionConfig",
    "image.proximatevoxels": "ProximateVoxelsFunctionConfig",
    "image.readpixels": "ReadPixelsFunctionConfig",
    "kmeans": "KmeansFunctionConfig",
    "mongodb.query": "Mongo::MongoQueryConfig",
    "pooling": "PoolingFunctionConfig",
    "postgresql.query": "PostgresqlQueryFunctionConfig",
    "probabilizer": "ProbabilizeFunctionConfig",
    "script.apply": "ScriptFunctionConfig",
    "sql.expression": "SqlExpressionFunctionConfig",
    "sql.query": "SqlQueryFunctionConfig",
    "statsTable.bagOfWords.posneg": "StatsTablePosNegFunctionConfig",
    "statsTable.getCounts": "StatsTableFunctionConfig",
    "stemmer": "StemmerFunctionConfig",
    "stemmerdoc": "StemmerFunctionConfig",
    "svd.embedRow": "SvdEmbedConfig",
    "svm": "SVMFunctionConfig",
    "tensorflow.graph": "TensorflowGraphConfig",
    "tensorflow.op": "TensorflowOpConfig",
    "tfidf": "TfidfFunctionConfig",
    "tokensplit": "TokenSplitConfig",
    "tsne.embedRow": "TsneEmbedConfig",
}
_PROCEDURES: Final = {
    "bucketize": "BucketizeProcedureConfig",
    "classifier.experiment": "ExperimentProcedureConfig",
    "classifier.test": "AccuracyConfig",
    "classifier.train": "ClassifierConfig",
    "createEntity": "CreateEntityProcedureConfig",
    "dataset.stats": "DatasetStatsProcedureConfig",
    "experimental.distTable.train": "DistTableProcedureConfig",
    "experimental.external.procedure": "ExternalPythonProcedureConfig",
    "experimental.import.xlsx": "XlsxImporterConfig",
    "experimental.statsTable.derivedColumnsGenerator": "StatsTableDerivedColumnsGeneratorProcedureConfig",
    "export.csv": "CsvExportProcedureConfig",
    "gaussianclustering.train": "EMConfig",
    "import.git": "GitImporterConfig",
    "import.json": "JSONImporterConfig",
    "import.sentiwordnet": "SentiWordNetImporterConfig",
    "import.text": "ImportTextConfig",
    "import.word2vec": "Word2VecImporterConfig",
    "kmeans.train": "KmeansConfig",
    "list.files": "ListFilesProcedureConfig",
    "melt": "MeltProcedureConfig",
    "mock": "MockProcedureConfig",
    "mongodb.import": "Mongo::MongoImportConfig",
    "null": "NullProcedureConfig",
    "permuter.run": "PermutationProcedureConfig",
    "postgresql.import": "PostgresqlImportConfig",
    "probabilizer.train": "ProbabilizerConfig",
    "randomforest.binary.train": "RandomForestProcedureConfig",
    "ranking": "RankingProcedureConfig",
    "script.run": "ScriptProcedureConfig",
    "serial": "SerialProcedureConfig",
    "split": "SplitProcedureConfig",
    "statsTable.bagOfWords.train": "BagOfWordsStatsTableProcedureConfig",
    "statsTable.train": "StatsTableProcedureConfig",
    "summary.statistics": "SummaryStatisticsProcedureConfig",
    "svd.train": "SvdConfig",
    "svm.train": "SVMConfig",
    "tfidf.train": "TfidfConfig",
    "transform": "TransformDatasetConfig",
    "tsne.train": "TsneConfig",
}
_PLUGINS: Final = {
    "experimental.external": "ExternalPluginConfig",
    "javascript": "PluginResource",
    "python": "PluginResource",
}
STRUCTURES: Final = {"dataset": _DATASETS, "function": _FUNCTIONS, "procedure": _PROCEDURES, "plugin": _PLUGINS}


def structure_name(declared: EntityType) -> str:
    """The name of a type's parameters, without ``MLDB::``; that of the model for types that MLDB has not."""
    return STRUCTURES.get(declared.kind, {}).get(declared.name, declared.params.__name__)
