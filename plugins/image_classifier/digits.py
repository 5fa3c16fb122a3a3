"""The classifier that is there from the start: handwritten digits, which scikit-learn brings as a CSV file.

Each line has 8 × 8 grey levels from 0 to 16, row by row, and the label.
"""

import importlib.util
import shutil
from pathlib import Path

import classifiers
import pixels
import teaching
from inception import ADDRESS, FOLDER
from mldb import mldb

ID = "digits"
# Every 120th digit gets no label, so that nothing is trained on it: these are the page's samples.
SELECT = "* EXCLUDING (label), CASE WHEN lineNumber() % 120 = 1 THEN NULL ELSE CAST(label AS string) END AS label"
SAMPLES = "SELECT * EXCLUDING (label) FROM digits_features WHERE label IS NULL"


def train() -> None:
    if ID in classifiers.known:
        return
    library = importlib.util.find_spec("sklearn")  # found, not imported: that would take longer than the training
    file = FOLDER / "digits.csv.gz"
    shutil.copyfile(Path(library.origin).parent / "datasets" / "data" / file.name, file)
    source = {"dataFileUrl": f"{ADDRESS}/{file.name}", "headers": [*pixels.NAMES, "label"], "select": SELECT}
    classifiers.keep(ID, "Handwritten digits", network="", weights="none")
    first = {"type": "import.text", "params": {**source, "outputDataset": "digits_features"}}
    teaching.learn(ID, "digits_features", first)


def samples() -> list[list[float]]:
    """Grey levels of digits that the classifier has not seen."""
    rows = mldb.get("/v1/query", {"q": SAMPLES, "format": "aos"}).json()
    return [[row[name] for name in pixels.NAMES] for row in rows]
