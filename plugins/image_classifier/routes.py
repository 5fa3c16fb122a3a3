"""Answers every request below /v1/plugins/image_classifier/routes/ that is not for a static file: see doc/index.md."""

import base64
import json
import time
from dataclasses import asdict

import archive
import classifiers
import digits
import jobs
import pictures
import pixels
import preparation
import shared
from jobs import Refused
from mldb import ResponseException, mldb

IMAGENET = "imagenet"


def answer(given):
    """The value of the answer, or None when a file has been sent."""
    id = given.get("model", digits.ID)
    match request.verb, request.remaining:
        case "GET", "/state":
            return {**asdict(jobs.known["network"]), **asdict(preparation.status)}
        case "GET", "/models":
            return {"models": classifiers.models(), "weights": preparation.status.weights}
        case "DELETE", "/models":
            return {"forgotten": classifiers.forget(known(id)["id"])}
        case "GET", "/samples":
            return digits.samples()
        case "GET", "/predict":
            picture = fetched(given.get("url", ""))
            return {**predicted(id, picture), "picture": shared.data_url(picture)}
        case "POST", "/predict":
            return predicted(id, request.body)
        case "POST", "/share":
            return {"name": shared.keep(request.body, predicted(id, request.body))}
        case "GET", "/shared":
            return shared.find(given.get("name", ""))
        case "POST", "/train":
            wanted = json.loads(request.payload)
            return asdict(classifiers.train(str(wanted["title"]), wanted["classes"], wanted.get("heap", [])))
        case "GET", "/train":
            return asdict(job(given.get("id", "")))
        case "GET", "/questions":
            return pictures.questions(known(id)["id"])
        case "POST", "/answers":
            return asdict(pictures.answer(known(id), json.loads(request.payload)))
        case "GET", "/picture":
            return request.send_file(pictures.picture(known(id)["id"], given.get("row", "")), "image/jpeg")
        case "POST", "/map":
            return asdict(pictures.start_map(known(id)["id"]))
        case "GET", "/map":
            return pictures.positions(known(id)["id"])
        case "GET", "/download":
            return request.send_file(archive.pack(known(id)), "application/zip", f"{known(id)['title']}.zip")
        case "POST", "/load":
            return archive.load(request.body)
    raise Refused(f"no such route: {request.verb} {request.remaining}", 404)


def predicted(id, picture):
    if not picture:
        raise Refused("send a picture in the body, or give its url")
    began = time.perf_counter()
    if id == IMAGENET:
        weights, labels = preparation.status.weights, classifiers.imagenet(picture)
    else:
        about = known(id)
        weights, labels = about["weights"], ask(about, picture)
    milliseconds = round((time.perf_counter() - began) * 1000, 1)
    return {"model": id, "labels": labels, "weights": weights, "milliseconds": milliseconds}


def ask(about, picture):
    if about["network"]:
        return classifiers.scores(about["id"], {"image": base64.b64encode(picture).decode()})
    return classifiers.scores(f"{about['id']}_scorer", {"features": pixels.levels(picture)})


def known(id):
    """The classifier's description."""
    if id not in classifiers.known:
        raise Refused(f"there is no classifier '{id}', or not yet", 404)
    return classifiers.known[id]


def job(id):
    if id not in jobs.known:
        raise Refused("there is no such training: has the plugin been reloaded?", 404)
    return jobs.known[id]


def fetched(url):
    """A picture on the web; its address is a value of the function's, never a part of SQL."""
    found = mldb.get("/v1/functions/image_at/application", {"input": {"url": url}}).json()["output"]
    if found["error"]:
        raise Refused(f"the picture could not be fetched: {found['error']}")
    return base64.b64decode(found["image"])


def reply():
    """The answer and its code; errors say too which weights the network has."""
    try:
        return answer(dict(request.rest_params)), 200
    except Refused as refused:
        error, code = str(refused), refused.code
    except pixels.NoPicture as unreadable:
        error, code = str(unreadable), 400
    except ResponseException as failed:
        error, code = failed.response.json()["error"], failed.response.status_code
    return {"error": error, "weights": preparation.status.weights}, code


value, code = reply()
if value is not None:
    request.set_return(value, code)
