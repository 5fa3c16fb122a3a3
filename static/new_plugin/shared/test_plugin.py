"""Run by ``mldb plugin test NAME``, inside the server."""

from mldb import MldbUnitTest, mldb


class PluginTest(MldbUnitTest):
    def test_route(self):
        self.assertEqual(mldb.get("/v1/plugins/NAME/routes/double", x="4").json(), {"doubled": 8})

    def test_function(self):
        self.assertTableResultEquals(
            mldb.query('SELECT "NAME_double"({x: 2}) AS *'), [["_rowName", "doubled"], ["result", 4]]
        )
