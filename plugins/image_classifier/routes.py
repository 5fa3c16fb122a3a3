"""Answers every request below /v1/plugins/image_classifier/routes/ that is not for a static file.

GET    /state               how far the preparation is, which weights the network has
GET    /models              the classifiers, with accuracy and confusion matrix on held-out pictures
GET    /samples             pictures to try, as data URLs
GET    /predict?model=&url= classify a picture on the web
POST   /predict?model=      classify the picture in the body
POST   /train               {"title": …, "classes": {label: [base64 pictures]}}: train; answers with the job
GET    /train?id=           how far that job is
"""

import base64
import json
import time
from dataclasses import asdict

import classifiers
import pixels
import preparation
from mldb import ResponseException, mldb

IMAGENET = "imagenet"


class Wrong(Exception):
    """A request that cannot be served: code and text."""


def state():
    return preparation.status.public()


def models():
    return {"models": classifiers.models(), "weights": preparation.status.weights}


def samples():
    file = preparation.FOLDER / "samples.json"
    return json.loads(file.read_text()) if file.exists() else []


def predict():
    parameters = dict(request.rest_params)
    picture = fetched(parameters["url"]) if "url" in parameters else request.body
    if not picture:
        raise Wrong(400, "send a picture in the body, or give its url")
    id = parameters.get("model", "digits")
    about = known(id)
    began = time.perf_counter()
    labels = classifiers.imagenet(picture) if id == IMAGENET else classifiers.scores(id, picture)
    milliseconds = round((time.perf_counter() - began) * 1000, 1)
    found = {"model": id, "labels": labels, "weights": about["weights"], "milliseconds": milliseconds}
    if "url" in parameters:
        found["picture"] = f"data:image;base64,{base64.b64encode(picture).decode()}"
    return found


def known(id):
    """The classifier's description; Wrong when it cannot be asked."""
    if id == IMAGENET:
        if not preparation.status.labels:
            reason = "the network is not ready yet" if preparation.status.state == "preparing" else preparation.REMEDY
            raise Wrong(503, f"There are no ImageNet labels: {reason}")
        return {"weights": preparation.status.weights}
    about = classifiers.model(id)
    if about is None:
        training = classifiers.job(id)
        raise Wrong(503, f"'{id}' is still in training") if training else Wrong(404, f"there is no classifier '{id}'")
    return about


def fetched(url):
    """A picture on the web; its address is a value of the function's, never a part of SQL."""
    found = mldb.get("/v1/functions/image_at/application", {"input": {"url": url}}).json()["output"]
    if found["error"]:
        raise Wrong(400, f"the picture could not be fetched: {found['error']}")
    return base64.b64decode(found["image"])


def train():
    if request.verb == "GET":
        job = classifiers.job(dict(request.rest_params).get("id", ""))
        if job is None:
            raise Wrong(404, "there is no such training: has the plugin been reloaded?")
        return asdict(job)
    wanted = json.loads(request.payload)
    return asdict(classifiers.start_training(str(wanted["title"]), wanted["classes"]))


ROUTES = {
    ("GET", "/state"): state,
    ("GET", "/models"): models,
    ("GET", "/samples"): samples,
    ("GET", "/predict"): predict,
    ("POST", "/predict"): predict,
    ("GET", "/train"): train,
    ("POST", "/train"): train,
}


def answer():
    """The answer and its code; every answer says which weights the network has."""
    route = ROUTES.get((request.verb, request.remaining))
    weights = preparation.status.weights
    try:
        if route is None:
            raise Wrong(404, f"no such route: {request.verb} {request.remaining}")
        return route(), 200
    except Wrong as wrong:
        code, text = wrong.args
        return {"error": text, "weights": weights}, code
    except (classifiers.Refused, pixels.NoPicture) as refused:
        return {"error": str(refused), "weights": weights}, 400
    except ResponseException as failed:
        return {"error": failed.response.json()["error"], "weights": weights}, failed.response.status_code


request.set_return(*answer())
