"""The image classifier: run once when the plugin is loaded. Requests are answered by routes.py."""

import threading

import classifiers
import digits
import inception
from mldb import mldb

mldb.plugin.serve_static_folder("static", "static")
mldb.plugin.serve_documentation_folder("doc")

FETCH = "SELECT base64_encode(found.content) AS image, found.error AS error FROM (SELECT fetcher($url) AS found)"
mldb.put("/v1/functions/image_at", {"type": "sql.query", "params": {"query": FETCH, "output": "FIRST_ROW"}})
classifiers.restore()
digits.train()
threading.Thread(target=inception.prepare, daemon=True).start()
mldb.log("Image classifier: the page is at /v1/plugins/image_classifier/routes/static/")
