"""Procedures and functions of k-means and Gaussian clustering (entity-types.md §3.18, §4.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from server.declarations import (
    BoundFunction,
    Creation,
    EntityType,
    InputQuery,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    StatelessProcedure,
)
from server.errors import MldbError
from server.learning.archive import Archive, ModelFile, pack, unpack
from server.learning.array_results import ColumnsResult
from server.learning.clustering import Doubles, Metric, gaussian_mixture, most_likely
from server.learning.coordinates import EMBEDDING, embedding_type, read_embedding
from server.learning.function_inputs import require_row
from server.learning.kmeans import kmeans, nearest_centroids
from server.learning.matrix import Floats
from server.learning.model_function import ModelFileParams, ModelFunction
from server.learning.model_params import checked_training, create_function, no_model_url, write_model
from server.learning.origin import open_model, training_rows
from server.learning.points import read_points, tells_order
from server.learning.row_files import read_rows, row_names
from server.learning.saved import FLOATS, member, require
from server.learning.training_job import Report, TrainingFiles, throttled, trained_in_job
from server.procedures.validators import required
from server.sql.tree import Select
from server.values.atoms import NEVER
from server.values.batches import Column, RowBatch, RowType
from server.values.kinds import Kind
from server.values.paths import parse_path

Method = Literal["kmeans", "gaussianclustering"]
_ASSIGNED = "assigned.npy"  # among the files of a training: the cluster of each row
_NO_POINTS = (
    "{} training requires at least 1 datapoint. Make sure your dataset is not empty and that your WHERE expression "
    "does not filter all the rows"
)


class ClusterParams(ProcedureParams):
    trainingData: InputQuery = Field(default=None, description="Query giving the same numeric columns for each row")
    outputDataset: OutputDataset = Field(default=None, description="Dataset for the cluster of each row")
    centroidsDataset: OutputDataset = Field(default=None, description="Dataset for the centres of the clusters")
    numInputDimensions: int = Field(default=-1, description="Columns to use, the first by name; -1 uses all")
    numClusters: int = Field(default=10, ge=1, description="Number of clusters")
    maxIterations: int = Field(default=100, ge=1, description="Rounds at most")
    modelFileUrl: str | None = Field(default=None, description="Where to save the model")
    functionName: str | None = Field(default=None, description="Name of a function to create from the model")


class KmeansParams(ClusterParams):
    metric: Metric = Field(default="cosine", description="How distances are measured")


class ClusterTrain(StatelessProcedure):
    """Reads the points here, clusters them in a job process, records clusters and centres."""

    method: ClassVar[Method]
    title: ClassVar[str]

    @property
    def name(self) -> str:
        return f"{self.method}.train"

    def check(self, params: ClusterParams) -> Select | None:
        if params.functionName and not params.modelFileUrl:
            raise MldbError(
                f"{no_model_url(self.name)} Can't create {self.method} function '{params.functionName}'. "
                "Have you provided a valid modelFileUrl?"
            )
        return checked_training(self.services, self.name, params, "groupBy", "having")

    def run(self, params: ClusterParams, progress: Progress) -> RunResult:
        select = required(self.check(params), self.name)
        if self.method == "gaussianclustering" and params.numClusters < 2:
            raise MldbError("Gaussian clustering needs at least 2 clusters")
        progress.step("iterating")
        result, origin = training_rows(self.services, self.name, params, select, whole=True)
        arguments = {
            "method": self.method, "clusters": params.numClusters, "rounds": params.maxIterations,
            "metric": getattr(params, "metric", "euclidean"), "dimensions": params.numInputDimensions,
            "keepOrder": tells_order(select), "origin": origin,
        }  # fmt: skip
        job, empty = "server.learning.clusters:train", _NO_POINTS.format(self.title)
        with trained_in_job(self.services, result, job, arguments, progress, empty=empty) as files:
            data = files.model.read_bytes()
            self._record(params, data, files, progress)
        write_model(self.services, params.modelFileUrl, data, self.method)
        create_function(self.services, params.functionName, self.method, params.modelFileUrl)
        return RunResult()

    def _record(self, params: ClusterParams, data: bytes, files: TrainingFiles, progress: Progress) -> None:
        file = unpack(self.method, data)
        progress.step("recording", "counter")
        if params.outputDataset is not None:
            _, dataset = self.services.output_dataset(params.outputDataset, "embedding")
            assigned = np.load(files.folder / _ASSIGNED, allow_pickle=False)
            dataset.write(ColumnsResult(row_names(files.rows), {("cluster",): assigned}), progress)
        if params.centroidsDataset is not None:
            _, dataset = self.services.output_dataset(params.centroidsDataset, "embedding")
            dataset.record_rows(_center_rows(file.body["columns"], file.archive))
            dataset.commit()


class KmeansTrain(ClusterTrain):
    method = "kmeans"
    title = "Kmeans"


class GaussianTrain(ClusterTrain):
    method = "gaussianclustering"
    title = "Gaussian clustering"


def _center_rows(columns: list[str], archive: Archive) -> Iterator[Recorded]:
    paths = [parse_path(name) for name in columns]
    covariances = archive.arrays.get("covariances")
    for number, center in enumerate(archive.get("centroids", FLOATS, None, None)):
        cells = [(path, float(value), NEVER) for path, value in zip(paths, center, strict=True)]
        if covariances is not None:
            cells += [
                ((f"c{row}{column}",), float(value), NEVER)
                for (row, column), value in np.ndenumerate(covariances[number])
            ]
        yield (str(number),), cells


def train(arguments: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The job: points from a file of rows; the model and the clusters of the rows into others."""
    method: Method = arguments["method"]
    files = TrainingFiles(Path(arguments["folder"]))
    points = read_points(
        read_rows(files.rows), f"{method}.train", dimensions=arguments["dimensions"], keep_order=arguments["keepOrder"]
    )
    tick = throttled("clustering", report)
    if method == "kmeans":
        found = kmeans(
            points.matrix, points.draw, arguments["clusters"], arguments["metric"], arguments["rounds"], tick
        )
    else:
        found = gaussian_mixture(points.matrix, points.draw, arguments["clusters"], arguments["rounds"], tick)
    archive = Archive()
    archive.put("centroids", found.centroids)
    if found.covariances is not None:
        archive.put("covariances", found.covariances)
    body = {"columns": points.columns, "metric": arguments["metric"]}
    np.save(files.folder / _ASSIGNED, found.assigned)
    files.model.write_bytes(pack(method, body, archive, arguments["origin"]))
    return {"rows": len(points)}


@dataclass(frozen=True)
class ClusterModel:
    """``centroids`` [cluster, column]; ``covariances`` [cluster, column, column] of mixtures, None of k-means."""

    columns: list[str]
    metric: Metric
    centroids: Floats
    covariances: Doubles | None

    @staticmethod
    def of(method: Method, file: ModelFile) -> ClusterModel:
        columns, metric = member(file.body, "columns", list[str]), member(file.body, "metric", Metric)
        width = len(columns)
        centroids = file.archive.get("centroids", FLOATS, None, width)
        require(len(centroids), "it has no clusters")
        covariances = None
        if method != "kmeans":
            covariances = file.archive.get("covariances", FLOATS, len(centroids), width, width)
            require(np.isfinite(covariances).all(), "a covariance is no number")
        return ClusterModel(columns, metric, centroids, covariances)


@dataclass(frozen=True)
class ClusterFunction(ModelFunction):
    """Tells the cluster of a point."""

    method: Method
    model: ClusterModel
    file: ModelFile

    output = RowType((Column(("cluster",), Kind.INTEGER),))

    def described(self) -> dict[str, Any]:
        model = {"type": self.method, "columns": self.model.columns, "clusters": len(self.model.centroids)}
        return model | ({"metric": self.model.metric} if self.method == "kmeans" else {})

    @property
    def input(self) -> RowType:
        return embedding_type(self.model.columns)

    def bind(self, given: RowType) -> BoundFunction:
        require_row(given, EMBEDDING)
        return self

    def apply(self, batch: RowBatch) -> RowBatch:
        points = read_embedding(self.model.columns, batch)
        return RowBatch(self.output, batch.length, [pa.array(self.clusters(points), pa.int64())])

    def clusters(self, points: Floats) -> NDArray[np.int64]:
        if self.model.covariances is None:
            return nearest_centroids(points, self.model.centroids, self.model.metric)
        return most_likely(points, self.model.centroids.astype(np.float64), self.model.covariances)


def _create_function(method: Method, creation: Creation) -> ClusterFunction:
    read = partial(ClusterModel.of, method)
    return ClusterFunction(method, *open_model(creation.services, creation.params.modelFileUrl, method, read))


TYPES = [
    EntityType(
        "procedure",
        "kmeans.train",
        KmeansParams,
        "Clusters rows by k-means",
        KmeansTrain.create,
    ),
    EntityType(
        "function", "kmeans", ModelFileParams, "Tells the cluster of a row", partial(_create_function, "kmeans")
    ),
    EntityType(
        "procedure",
        "gaussianclustering.train",
        ClusterParams,
        "Clusters rows by a mixture of Gaussians",
        GaussianTrain.create,
    ),
    EntityType(
        "function",
        "gaussianclustering",
        ModelFileParams,
        "Tells the cluster of a row",
        partial(_create_function, "gaussianclustering"),
    ),
]
