"""The image classifier: run once when the plugin is loaded. Requests are answered by routes.py."""

import classifiers
import digits
import preparation
from mldb import mldb

mldb.plugin.serve_static_folder("static", "static")
mldb.plugin.serve_documentation_folder("doc")

classifiers.restore()
preparation.start(first=digits.train)
mldb.log("Image classifier: the page is at /v1/plugins/image_classifier/routes/static/")
