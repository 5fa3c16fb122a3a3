"""Answers every request below /v1/plugins/image_classifier/routes/ that is not for a static file: see doc/index.md."""

import base64
import json
import time

import classifiers
import digits
import files
import inception
import pixels
import teaching
from classifiers import checked
from mldb import HTTPException, ResponseException


def routes(model=digits.ID, url="", name="", id="", row="", **others):
    """What gives the answer, by verb and path; the arguments are the parameters of the query string."""
    content = request.body
    return {
        ("GET", "/state"): lambda: inception.status,
        ("GET", "/models"): lambda: {"models": classifiers.models(), "weights": inception.status["weights"]},
        ("DELETE", "/models"): lambda: {"forgotten": classifiers.forget(checked(model))},
        ("GET", "/samples"): digits.samples,
        ("GET", "/predict"): lambda: predicted_at(model, url),
        ("POST", "/predict"): lambda: predicted(model, content),
        ("POST", "/share"): lambda: {"name": files.share(content, predicted(model, content))},
        ("GET", "/shared"): lambda: files.shared(name),
        ("POST", "/train"): lambda: teaching.train(json_object(content)),
        ("GET", "/train"): lambda: teaching.job(id),
        ("GET", "/questions"): lambda: teaching.questions(checked(model)),
        ("POST", "/answers"): lambda: teaching.answer(checked(model), json_object(content)),
        ("GET", "/picture"): lambda: request.send_file(teaching.picture(checked(model), row), "image/jpeg"),
        ("POST", "/map"): lambda: teaching.place(checked(model)),
        ("GET", "/map"): lambda: teaching.positions(checked(model)),
        ("GET", "/download"): lambda: request.send_file(*files.pack(checked(model))),
        ("POST", "/load"): lambda: files.load(content),
    }


def json_object(content):
    try:
        sent = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is no JSON: {error}") from None
    if not isinstance(sent, dict):
        raise HTTPException(400, "the body is a JSON object")
    return sent


def predicted(id, picture):
    if not picture:
        raise HTTPException(400, "send a picture in the body, or give its url")
    began = time.perf_counter()
    if id == "imagenet":
        weights, labels = inception.status["weights"], classifiers.imagenet(picture)
    elif (about := classifiers.known[checked(id)])["network"]:
        weights, labels = about["weights"], classifiers.scores(id, content=picture)
    else:
        weights, labels = "none", classifiers.scores(f"{id}_scorer", features=pixels.levels(picture))
    milliseconds = round((time.perf_counter() - began) * 1000, 1)
    return {"model": id, "labels": labels, "weights": weights, "milliseconds": milliseconds}


def predicted_at(id, url):
    """For a picture on the web, which comes too."""
    found = classifiers.applied("image_at", url=url)
    if found["error"]:
        raise HTTPException(400, f"the picture could not be fetched: {found['error']}")
    picture = base64.b64decode(found["image"])
    return {**predicted(id, picture), "picture": files.data_url(picture)}


def answer():
    known = routes(**dict(request.rest_params))
    if (request.verb, request.remaining) not in known:
        raise HTTPException(404, f"no such route: {request.verb} {request.remaining}")
    return known[request.verb, request.remaining]()


def reply():
    """The answer, None when it is a file; errors say too which weights the network has."""
    try:
        return answer()
    except HTTPException as refused:
        error, code = refused.detail, refused.status_code
    except ResponseException as failed:
        error, code = failed.response.json()["error"], failed.response.status_code
    except pixels.Unreadable as unreadable:
        error, code = str(unreadable), 400
    raise HTTPException(code, error, weights=inception.status["weights"])


value = reply()
if value is not None:
    request.set_return(value)
