"""The same no-op route in Flask."""

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/noop")
def noop() -> Response:
    return jsonify(hello="world")
