"""Runs for every request below /v1/plugins/NAME/routes/."""

from mldb import mldb

if request.verb == "GET" and request.remaining == "/double":
    x = float(dict(request.rest_params).get("x", "1"))
    answer = mldb.get("/v1/functions/NAME_double/application", input={"x": x}).json()
    request.set_return(answer["output"])
else:
    request.set_return({"error": "there is no such route"}, 404)
