"""What the fork server of training jobs imports, so that a training finds it there (``server.entities.jobs``)."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.compute

from server.learning import classifier_job, clusters, svd_types
from server.learning.lightgbm_library import lightgbm, without_integrations

__all__ = ["classifier_job", "clusters", "svd_types"]

# OpenMP's threads spin while they wait. On a busy machine long spinning takes the cores from those waited for; without
# any, each wait costs a switch: twenty trees of LightGBM took 3.5 s on an idle machine instead of 0.4. Read when the
# library is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
lightgbm()
with without_integrations():
    # pyarrow imports pandas, where it is installed, for the first array that is made of Python values.
    pa.array([0])
