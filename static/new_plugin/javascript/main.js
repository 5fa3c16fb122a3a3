// Runs once, when the plugin is loaded. Its handler answers what comes to /v1/plugins/NAME/routes/.
plugin.serveStaticFolder('/static', 'static');
mldb.put('/v1/functions/NAME_double', {type: 'sql.expression', params: {expression: 'x * 2 AS doubled'}});

plugin.setRequestHandler((path, verb, resource, params) => {
  if (verb != 'GET' || path != '/double') throw new Error(`there is no such route: ${path}`);
  const x = Number(Object.fromEntries(params).x || 1);
  return mldb.get('/v1/functions/NAME_double/application', {input: {x}}).json.output;
});

mldb.log('NAME is loaded');
