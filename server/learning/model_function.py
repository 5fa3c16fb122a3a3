"""Functions that apply the model of a file: their parameter, and what they tell of the model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pydantic import Field

from server.declarations import Params
from server.learning.archive import ModelFile


class ModelFileParams(Params):
    modelFileUrl: str = Field(description="URL of the model, as the training procedure saved it")


class ModelFunction(ABC):
    """Base of these functions. ``file`` is the one that the model was read from."""

    file: ModelFile

    @abstractmethod
    def described(self) -> dict[str, Any]:
        """What the model is, as JSON."""

    @property
    def digest(self) -> str:
        return self.file.digest

    def details(self) -> dict[str, Any]:
        return self.file.details(self.described())
