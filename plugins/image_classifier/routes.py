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
from mldb import HTTPException, ResponseException, mldb


def answer(given):
    """The value of the answer, or None when a file has been sent."""
    id = given.get("model", digits.ID)
    match request.verb, request.remaining:
        case "GET", "/state":
            return {**inception.status}
        case "GET", "/models":
            return {"models": classifiers.models(), "weights": inception.status["weights"]}
        case "DELETE", "/models":
            return {"forgotten": classifiers.forget(known(id)["id"])}
        case "GET", "/samples":
            return digits.samples()
        case "GET", "/predict":
            picture = fetched(given.get("url", ""))
            return {**predicted(id, picture), "picture": files.data_url(picture)}
        case "POST", "/predict":
            return predicted(id, request.body)
        case "POST", "/share":
            return {"name": files.share(request.body, predicted(id, request.body))}
        case "GET", "/shared":
            return files.shared(given.get("name", ""))
        case "POST", "/train":
            wanted = body()
            return teaching.train(wanted.get("title"), wanted.get("classes"), wanted.get("heap", []))
        case "GET", "/train":
            return teaching.job(given.get("id", ""))
        case "GET", "/questions":
            return teaching.questions(known(id)["id"])
        case "POST", "/answers":
            return teaching.answer(classifiers.described(known(id)), body())
        case "GET", "/picture":
            return request.send_file(teaching.picture(known(id)["id"], given.get("row", "")), "image/jpeg")
        case "POST", "/map":
            return teaching.place(known(id)["id"])
        case "GET", "/map":
            return teaching.positions(known(id)["id"])
        case "GET", "/download":
            about = classifiers.described(known(id))
            return request.send_file(files.pack(about), "application/json", f"{about['title']}.json")
        case "POST", "/load":
            return files.load(request.body)
    raise HTTPException(404, f"no such route: {request.verb} {request.remaining}")


def body():
    """The JSON object that was sent."""
    try:
        sent = json.loads(request.body)
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
    elif known(id)["network"]:
        weights, labels = known(id)["weights"], classifiers.scores(id, image=base64.b64encode(picture).decode())
    else:
        weights, labels = "none", classifiers.scores(f"{id}_scorer", features=levels(picture))
    milliseconds = round((time.perf_counter() - began) * 1000, 1)
    return {"model": id, "labels": labels, "weights": weights, "milliseconds": milliseconds}


def levels(picture):
    try:
        return pixels.levels(picture)
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


def known(id):
    """The classifier's description."""
    if id not in classifiers.known:
        raise HTTPException(404, f"there is no classifier '{id}', or not yet")
    return classifiers.known[id]


def fetched(url):
    """A picture on the web; its address is a value of the function's, never a part of SQL."""
    found = mldb.get("/v1/functions/image_at/application", {"input": {"url": url}}).json()["output"]
    if found["error"]:
        raise HTTPException(400, f"the picture could not be fetched: {found['error']}")
    return base64.b64decode(found["image"])


def reply():
    """The answer; errors say too which weights the network has."""
    try:
        return answer(dict(request.rest_params))
    except HTTPException as refused:
        error, code = refused.detail, refused.status_code
    except ResponseException as failed:
        error, code = failed.response.json()["error"], failed.response.status_code
    raise HTTPException(code, error, weights=inception.status["weights"])


value = reply()
if value is not None:
    request.set_return(value)
