"""The API reference and the documentation as the server shows them."""

from __future__ import annotations

import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from server.http import docpages, docsite
from tests.waiting import until


@pytest.fixture(scope="module")
def described(client):
    return client.get("/openapi.json").json()


def test_the_document_is_openapi(described):
    OpenAPIV31SpecValidator(described).validate()
    names = [each["operationId"] for item in described["paths"].values() for each in item.values()]
    assert len(names) == len(set(names)) > 80


def test_every_route_is_in_it(described, client):
    for route in client.get("/v1/help").json().values():
        path = route["path"].replace("{*}", "{path}")
        assert {verb.lower() for verb in route["verbs"]} <= described["paths"][path].keys()


def test_bodies_are_those_of_the_declared_types(described, client):
    (body,) = described["paths"]["/v1/procedures/{procedure}"]["put"]["requestBody"]["content"].values()
    assert body["schema"] == {"$ref": "#/components/schemas/ProcedureConfig"}
    schemas = described["components"]["schemas"]
    options = {each["title"]: each for each in schemas["ProcedureConfig"]["oneOf"]}
    assert sorted(options) == client.get("/v1/types/procedures").json()
    params = schemas[options["transform"]["properties"]["params"]["$ref"].rpartition("/")[2]]
    assert {"inputData", "outputDataset", "runOnCreation"} <= params["properties"].keys()
    query = {each["name"]: each for each in described["paths"]["/v1/query"]["get"]["parameters"]}
    assert query["headers"]["schema"] == {"type": "boolean", "default": True}


ROUTES = """
if request.remaining == '/none':
    request.set_return({}, 404)
elif request.remaining == '/broken':
    raise ValueError("secret-value")
else:
    request.set_return({'ok': True})
"""


def test_routes_of_plugins_are_learnt(client):
    source = {"main": "", "routes": ROUTES}
    client.put("/v1/plugins/learnt", json={"type": "python", "params": {"source": source}})
    client.get("/v1/plugins/learnt/routes/items/17", params={"colour": "secret-value"})
    client.get("/v1/plugins/learnt/routes/items/18")
    client.post("/v1/plugins/learnt/routes/items", json={"a": 1})
    client.get("/v1/plugins/learnt/routes/none")
    client.get("/v1/plugins/learnt/routes/broken")
    document = client.get("/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    found = {path: item for path, item in document["paths"].items() if path.startswith("/v1/plugins/learnt/")}
    routes = "/v1/plugins/learnt/routes"
    assert sorted(found) == [f"{routes}/broken", f"{routes}/items", f"{routes}/items/{{id1}}"]
    assert found[f"{routes}/broken"]["get"]["responses"]["400"]["description"] == "raised ValueError"
    one = found["/v1/plugins/learnt/routes/items/{id1}"]["get"]
    assert one["x-mldb-source"] == "learnt"
    assert [each["name"] for each in one["parameters"]] == ["id1", "colour"]
    assert "secret-value" not in str(document)
    assert "application/json" in found["/v1/plugins/learnt/routes/items"]["post"]["requestBody"]["content"]


def test_routes_of_plugins_are_declared(server, client):
    folder = server.data_dir / "plugins" / "declaring"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text("")
    (folder / "routes.py").write_text(ROUTES)
    (folder / "routes.yaml").write_text("/items/{name}:\n  get:\n    summary: One item\n")
    until(lambda: client.get("/v1/plugins/declaring/routes/items/x").status_code == 200)
    item = client.get("/openapi.json").json()["paths"]["/v1/plugins/declaring/routes/items/{name}"]["get"]
    assert (item["summary"], item["x-mldb-source"]) == ("One item", "declared")
    assert item["parameters"][0]["in"] == "path"
    (folder / "routes.yaml").write_text("/x: [1")
    document = client.get("/openapi.json").json()
    assert not any("declaring" in path for path in document["paths"])
    assert "routes.yaml" in client.get("/logs/mldb", params={"q": "declaring"}).text


def test_documentation_is_served(client):
    home = client.get("/doc", follow_redirects=True)
    assert "<h1>MLDB</h1>" in home.text
    assert "default-src 'none'" in home.headers["content-security-policy"]
    seen, todo = set(), ["/doc/"]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        base = answer.url
        for link in re.findall(r'href="([^"#]+)', answer.text):
            target = base.join(link)
            if target.host == base.host and target.path.startswith("/doc/"):
                todo.append(target.path)
        for picture in re.findall(r'<img[^>]* src="([^"]+)', answer.text):
            assert client.get(base.join(picture)).headers["content-type"].startswith("image/"), (path, picture)
    assert len(seen) > 12
    for path in ("/doc/notebooks", "/doc/notebooks/"):
        assert str(client.get(path, follow_redirects=True).url.path) == "/doc/notebooks/index.md.html"
    for path in ("/doc/nothing.html", "/doc/../server/app.py", "/doc/%2e%2e/README.md", "/doc/generate.py"):
        assert client.get(path).status_code == 404, path


def test_every_link_of_the_documentation_has_its_place(client):
    pages = {name: client.get(f"/doc/{name}.html") for name in docpages.TITLES}
    ids = {name: set(re.findall(r' id="([^"]+)"', page.text)) for name, page in pages.items()}
    for name, page in pages.items():
        assert page.status_code == 200, name
        for link in re.findall(r'<a [^>]*href="([^"]+)"', page.text):
            target = page.url.join(link)
            if target.host != page.url.host or not target.path.startswith("/doc/") or target.path.endswith(".ipynb"):
                continue
            found = target.path.removeprefix("/doc/").removesuffix(".html") or "index.md"
            assert found in pages, (name, link)
            assert not target.fragment or target.fragment in ids[found], (name, link)


def test_every_page_is_in_the_contents():
    files = [file for suffix in ("md", "ipynb") for file in docpages.DOCS.rglob(f"*.{suffix}")]
    assert {str(file.relative_to(docpages.DOCS)) for file in files} <= docpages.TITLES.keys()


def test_the_documentation_can_be_searched(client):
    found = client.get("/doc/search.json").json()
    assert ["Changelog", "Changelog", "CHANGELOG.md.html"] in [each[:3] for each in found]
    (row,) = [text for page, title, _, text in found if (page, title) == ("Builtin functions", "Numbers")]
    assert "`" not in row
    assert any(line.startswith("atan2(") for line in row.splitlines())
    pages = {address.partition("#")[0] for _, _, address, _ in found}
    texts = {path: client.get(f"/doc/{path}").text for path in pages}
    for _, _, address, _ in found:
        path, _, anchor = address.partition("#")
        assert not anchor or f'id="{anchor}"' in texts[path]


def test_code_in_the_documentation_has_colours(client):
    page = client.get("/doc/tutorial.md.html").text
    assert '<span class="kn">from</span>' in page, "Python in a file that the shell writes"
    assert "flowers are ready" in page
    json_block = client.get("/doc/README.md.html").text
    assert '<span class="nt">"sum"</span>' in json_block


def test_notebooks_can_be_had(client):
    answer = client.get("/doc/notebooks/text.ipynb")
    assert answer.json()["nbformat"] == 4
    assert 'href="text.ipynb"' in client.get("/doc/notebooks/text.ipynb.html").text


def test_documentation_of_types(client):
    location = client.get("/v1/types/procedures/transform/doc", follow_redirects=False).headers["location"]
    shown = client.get(location)
    assert shown.status_code == 200
    assert "<code>inputData</code>" in shown.text
    assert client.get("/doc/builtin/nonsense/transform.md.html", follow_redirects=False).status_code == 302


@pytest.mark.parametrize(
    ("old", "place"),
    [
        ("builtin/sql/ValueExpression.md.html", "/doc/reference/functions.md.html"),
        ("builtin/sql/QueryAPI.md", "/doc/sql-guide.md.html"),
        ("builtin/procedures/Classifier.md.html", "/doc/reference/types.md.html"),
        ("builtin/plugins/Plugins.md.html", "/doc/plugin-guide.md.html"),
        ("builtin/help.md.html", "/doc/migrating-from-mldb.md.html"),
        ("nblink.html", "/doc/notebooks/index.md.html"),
        ("rest.html", "/reference"),
    ],
)
def test_addresses_of_mldbs_documentation_lead_to_what_tells_the_same(client, old, place):
    shown = client.get(f"/doc/{old}", follow_redirects=True)
    assert (shown.status_code, shown.url.path) == (200, place)


def test_where_mldbs_pages_lead_to_is_there(client):
    for place in docsite.OF_MLDB.values():
        page, _, anchor = place.partition("#")
        shown = client.get(f"/doc/{page}")
        assert shown.status_code == 200, place
        assert not anchor or f' id="{anchor}"' in shown.text, place


def test_the_viewer_is_there(client):
    assert "reference.js" in client.get("/reference").text
    assert "openapi.json" in client.get("/static/reference/reference.js").text


def test_types_say_what_a_parameter_is_entered_as(client):
    """Forms offer an editor for SQL and a choice of datasets by these names."""
    info = client.get("/v1/types/procedures/kmeans.train/info").json()
    fields = {each["name"]: each for each in info["configType"]["fields"]}
    assert {name: fields[name]["type"] for name in ("trainingData", "outputDataset")} == {
        "trainingData": {"kind": "ANY", "typeName": "InputQuery"},
        "outputDataset": {"kind": "ANY", "typeName": "OutputDataset"},
    }
    listed = dict(client.get("/v1/types/procedures?details=true").json())
    split = {each["name"]: each["type"] for each in listed["split"]["configType"]["fields"]}
    assert split["outputDatasets"]["inner"] == [{"kind": "ANY", "typeName": "OutputDataset"}]
    expression = client.get("/v1/types/functions/sql.expression/info").json()["configType"]["fields"][0]
    assert expression["type"] == {"kind": "STRING", "typeName": "SqlExpression"}


@pytest.mark.parametrize(
    ("type_", "params", "field"),
    [
        ("kmeans.train", {"numClusters": 0}, "numClusters"),
        ("svm.train", {"configuration": {"C": "much"}}, "configuration.C"),
        ("transform", {"inputdata": "SELECT 1"}, "inputdata"),
        ("melt", {}, "inputData"),
    ],
)
def test_an_error_of_a_parameter_names_it_in_its_details(client, type_, params, field):
    answer = client.put("/v1/procedures/wrong", json={"type": type_, "params": params})
    assert answer.status_code == 400
    assert answer.json()["details"] == {"field": field, "type": type_}


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/autodoc", "/reference"),
        ("/autodoc/", "/reference"),
        ("/autodoc/index.html", "/reference"),
        ("/autodoc/autodoc", "/v1/help?autodoc"),
        ("/ipy", "/doc/notebooks/index.md.html"),
        ("/ipy/notebooks/_demos/Mapping%20Reddit.ipynb", "/doc/notebooks/index.md.html"),
    ],
)
def test_what_was_at_an_address_of_mldb_is_led_to(client, path, target):
    answer = client.get(path)
    assert (answer.status_code, answer.headers["location"]) == (302, target)
