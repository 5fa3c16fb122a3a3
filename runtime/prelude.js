// What JavaScript plugins and scripts find as globals: mldb, plugin, args, require, console.
// `host(name, …)` asks the worker: it takes and gives JSON text, [true, value] or [false, message]. `collect` frees
// what nothing refers to but itself.
(function (host, collect) {
  'use strict';

  const {parse, stringify} = JSON; // as they were: the code may give JSON others
  const {then} = Promise.prototype;
  const isPromise = ((Promise) => (value) => value instanceof Promise)(Promise);

  function ask(name, ...given) {
    const [done, value] = parse(host(name, stringify(given)));
    if (!done) throw new Error(value);
    return value;
  }

  function needed(value, number, name) {
    if (value === undefined) throw new Error(`argument ${number} (${name}) must be present`);
    if (value === null) throw new Error(`argument ${number} (${name}) was null`);
    return value;
  }

  // ── values ─────────────────────────────────────────────────────────────────────────────────────────────────────

  // An atom that JSON has no form for: `json` is its form in MLDB's API.
  class Atom {
    constructor(json) { this.json = json; }
    toJSON() { return this.json; }
    toString() { return Object.values(this.json).join('.'); }
  }

  const ELEMENT = /(?:"((?:[^"]|"")*)"|([^."]*))(\.|$)/y;

  // The elements of a path's text.
  function elements(text) {
    const found = [];
    ELEMENT.lastIndex = 0;
    for (let more = true; more;) {
      const match = ELEMENT.exec(text);
      if (match === null) throw new Error(`this is no path: ${text}`);
      found.push(match[1] === undefined ? match[2] : match[1].replace(/""/g, '"'));
      more = match[3] !== '';
    }
    return found;
  }

  // A text is the text of a path, which the server reads; an array has the elements.
  function path(name) {
    if (typeof name === 'string' || Number.isInteger(name)) return String(name);
    if (name === null || name === undefined) return [];
    if (name instanceof Atom && name.json.path) return name.json.path;
    if (Array.isArray(name)) return name.map(String);
    throw new Error(`Unparseable JSON Path value: ${shown(name)}`);
  }

  function atom(value) {
    if (value === undefined) return null;
    if (value instanceof Date) return {ts: Number.isNaN(value.getTime()) ? 'NaD' : value.toISOString()};
    if (typeof value === 'number' && !Number.isFinite(value)) return {num: String(value).replace('Infinity', 'Inf')};
    return value;
  }

  const TIME = /^(\d{4}-|-?Inf$|NaD$)/; // as the server writes and reads it

  function moment(value) {
    if (value === Infinity) return 'Inf';
    if (value === -Infinity) return '-Inf';
    if (typeof value === 'number') return value;
    if (typeof value === 'string' && TIME.test(value)) return value;
    if (value === null || value === undefined) throw new Error(`Couldn't convert from ${value} to MLDB::Date`);
    const date = value instanceof Date ? value : new Date(value);
    return Number.isNaN(date.getTime()) ? 'NaD' : date.toISOString();
  }

  const cells = (tuples) => (tuples || []).map(([name, value, ts]) => [path(name), atom(value), moment(ts)]);
  const groups = (rows) => rows.map((row) => Array.isArray(row)
    ? [path(row[0]), cells(row[1])]
    : [path(row.rowPath === undefined ? row.rowName : row.rowPath), cells(row.columns)]);

  function shown(value) {
    if (value instanceof Date) return value.toJSON() === null ? 'NaD' : value.toISOString().replace(/\.?0+Z$/, 'Z');
    return value !== null && typeof value === 'object' ? stringify(value, null, 3) : String(value);
  }

  function amount(of, given) {
    if (given === undefined || given === null) return 0;
    if (typeof given === 'number' && Number.isFinite(given)) return given;
    throw new TypeError(`the ${of} of an interval must be a number, not ${stringify(atom(given))}`);
  }

  function interval(months, days, seconds) {
    if (typeof months === 'string') return new Atom({interval: months});
    if (months !== null && typeof months === 'object') {
      const known = ['months', 'days', 'seconds', 'interval'];
      const unknown = Object.keys(months).find((name) => !known.includes(name));
      if (unknown !== undefined) throw new Error(`an interval has months, days and seconds, or interval, not ${unknown}`);
      if (typeof months.interval === 'string') return new Atom({interval: months.interval});
      if ('interval' in months) throw new TypeError(`an interval as text, not ${stringify(atom(months.interval))}`);
      ({months, days, seconds} = months);
    }
    const [m, d, s] = [amount('months', months), amount('days', days), amount('seconds', seconds)];
    return new Atom({interval: `${m} MONTH ${d} DAY ${s} SECOND`});
  }

  // ── requests ───────────────────────────────────────────────────────────────────────────────────────────────────

  function dated(name, value) {
    return this[name] instanceof Date ? atom(this[name]) : value;
  }

  function pair(given) {
    if (!Array.isArray(given) || given.length !== 2) throw new Error('invalid length for pair extraction');
    const [name, value] = given;
    return [String(name), typeof value === 'string' ? value : stringify(value, dated)];
  }

  // Names and values of parameters or headers.
  function pairs(given) {
    if (given === undefined || given === null || given === '') return [];
    if (typeof given !== 'object') throw new Error(`couldn't convert JS value '${given}' to REST parameters`);
    if (!Array.isArray(given)) return Object.entries(given).map(pair);
    return (given.length === 2 && !Array.isArray(given[0]) ? [given] : given).map(pair);
  }

  function perform(verb, resource, params, payload, headers) {
    needed(verb, 0, 'verb');
    needed(resource, 1, 'resource');
    const body = payload === undefined || payload === null ? ''
      : typeof payload === 'string' ? payload : stringify(payload);
    const found = ask('perform', String(verb), String(resource), pairs(params), body, pairs(headers));
    const answer = {responseCode: found.responseCode};
    for (const name of ['contentType', 'headers', 'response']) if (name in found) answer[name] = found[name];
    if ('json' in found) {
      try { answer.json = parse(found.json); } catch (error) { answer.json = null; }
    }
    return answer;
  }

  const to = (verb) => (resource, payload, headers) =>
    perform(verb, needed(resource, 0, 'resource'), [], payload, headers);
  const soon = (verb) => (resource, payload, headers) =>
    to(verb)(resource, payload, [...pairs(headers), ['async', 'true']]);

  // The error of the server with what it tells besides its text.
  function failure(message, httpCode, details) {
    return Object.assign(new Error(message), {httpCode, details, error: message});
  }

  function made(answer) {
    if (answer.responseCode >= 400) {
      const {error = answer.response, httpCode = answer.responseCode, details = null} = answer.json || {};
      throw failure(error, httpCode, details);
    }
    return answer.json;
  }

  const at = (kind, id) => `/v1/${kind}/${encodeURIComponent(id)}`;

  const NEW = {'mldb-must-be-new': 'true'};

  // One that is there already is taken as it is.
  class Entity {
    constructor(kind, config) {
      needed(config, 0, 'Config');
      if (config.id === undefined && config.type === undefined) {
        throw failure(`Attempt to obtain ${kind.slice(0, -1)} without setting 'id' (to refer to existing) or`
          + " 'type' and 'params' (to create new)", 400, {configPassedIn: config});
      }
      const found = config.id === undefined ? {responseCode: 404} : perform('GET', at(kind, config.id));
      const answer = found.responseCode === 200 ? found.json : made(perform('POST', `/v1/${kind}`, [], config, NEW));
      config.id = answer.id;
      if (answer.config && answer.config.params !== undefined) config.params = answer.config.params;
      this.path = at(kind, answer.id);
    }
    _get(resource = '') { return made(perform('GET', this.path + resource)); }
    _post(resource, body) { made(perform('POST', this.path + resource, [], body === undefined ? '' : body)); return this; }
    config() { return this._get().config; }
    id() { return this._get().id; }
    type() { return this._get().type; }
    status() { return this._get().status; }
    details() { return null; }
  }

  class Dataset extends Entity {
    constructor(config) { super('datasets', config); }
    recordRow(name, tuples) {
      return this._post('/rows', {rowName: path(needed(name, 0, 'rowName')), columns: cells(tuples)});
    }
    recordRows(rows) { return this._post('/multirows', groups(rows)); }
    recordColumn(name, tuples) {
      return this._post('/columns', {columnName: path(needed(name, 0, 'columnName')), rows: cells(tuples)});
    }
    recordColumns(columns) { return this._post('/multicolumns', groups(columns)); }
    commit() { return this._post('/commit'); }
    getColumnPaths() { return this._get('/columns').map(elements); }
    getTimestampRange() { return this._get('/timestampRange').map((one) => new Date(one)); }
  }

  class Procedure extends Entity {
    constructor(config) { super('procedures', config); }
    run(args) {
      const {id} = made(perform('POST', this.path + '/runs', [], args || {}));
      const run = '/runs/' + encodeURIComponent(id);
      return {results: this._get(run).status, details: this._get(run + '/details')};
    }
  }

  class Function_ extends Entity {
    constructor(config) { super('functions', config); }
    details() { return this._get('/details'); }
    call(input) { return made(perform('GET', this.path + '/application', {input})).output; }
    callJson(input) { return made(perform('GET', this.path + '/application', {input, outputFormat: 'json'})); }
  }

  // ── streams ────────────────────────────────────────────────────────────────────────────────────────────────────

  const FEW = 100; // streams that may be open before it is looked for those that nobody has any more
  const opened = new Map(); // weak references by number
  let enough = FEW;

  function closeForgotten() {
    for (const [number, stream] of opened) {
      if (stream.deref() === undefined) {
        opened.delete(number);
        ask('close', number);
      }
    }
  }

  class Stream {
    constructor(uri) {
      if (opened.size >= enough) {
        collect();
        closeForgotten();
        enough = Math.max(FEW, 2 * opened.size);
      }
      this.number = ask('open', uri);
      opened.set(this.number, new WeakRef(this));
    }
    readLine() { return ask('readLine', this.number); }
    readJson() { return ask('readJson', this.number); }
    readBytes(count) {
      if (!(count >= 0)) throw new Error('readBytes(n) needs the number of bytes');
      return ask('read', this.number, count);
    }
    readBlob(count = -1, allowShortReads = false) {
      const bytes = ask('read', this.number, count);
      if (count >= 0 && bytes.length < count && !allowShortReads) {
        throw new Error(`Not enough bytes reading blob and short reads not allowed: ${bytes.length} of ${count}`);
      }
      return new Atom({blob: bytes});
    }
    eof() { return ask('eof', this.number); }
    _view(size) {
      const bytes = ask('read', this.number, size);
      if (bytes.length < size) throw new Error('End of file');
      return new DataView(Uint8Array.from(bytes).buffer);
    }
    readU8() { return this._view(1).getUint8(0); }
    readI8() { return this._view(1).getInt8(0); }
    readU16LE() { return this._view(2).getUint16(0, true); }
    readU16BE() { return this._view(2).getUint16(0, false); }
    readI16LE() { return this._view(2).getInt16(0, true); }
    readI16BE() { return this._view(2).getInt16(0, false); }
    readU32LE() { return this._view(4).getUint32(0, true); }
    readU32BE() { return this._view(4).getUint32(0, false); }
    readI32LE() { return this._view(4).getInt32(0, true); }
    readI32BE() { return this._view(4).getInt32(0, false); }
  }

  // ── random numbers ─────────────────────────────────────────────────────────────────────────────────────────────

  // Mulberry32: small, and the same numbers for the same seed on every machine.
  class RandomNumberGenerator {
    constructor(seed) { this.seed(seed); }
    seed(seed) { this.state = (seed || Math.floor(Math.random() * 2 ** 32)) >>> 0; this.spare = null; return this; }
    _next() {
      this.state = (this.state + 0x6D2B79F5) >>> 0;
      let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    }
    uniform(min = 0, max = 1) { return min + (max - min) * this._next(); }
    normal(mean = 0, deviation = 1) {
      if (this.spare === null) {
        const radius = Math.sqrt(-2 * Math.log(1 - this._next()));
        const angle = 2 * Math.PI * this._next();
        this.spare = radius * Math.sin(angle);
        return mean + deviation * radius * Math.cos(angle);
      }
      const value = this.spare;
      this.spare = null;
      return mean + deviation * value;
    }
  }

  // ── differences ────────────────────────────────────────────────────────────────────────────────────────────────

  const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
  const isEmpty = (found) => Object.keys(found).length === 0;

  function same(left, right) {
    if (left === right || (left !== left && right !== right)) return true;
    if (Array.isArray(left) && Array.isArray(right)) {
      return left.length === right.length && left.every((one, index) => same(one, right[index]));
    }
    if (!isObject(left) || !isObject(right)) return false;
    const names = Object.keys({...left, ...right});
    return names.every((name) => Object.hasOwn(left, name) && Object.hasOwn(right, name) && same(left[name], right[name]));
  }

  // {} for equal values; {'-': old, '+': new}, without the one that is not there; {f: {member: difference}} for objects.
  function diff(left, right) {
    if (same(left, right)) return {};
    if (!isObject(left) || !isObject(right)) {
      return {...(left === undefined ? {} : {'-': left}), ...(right === undefined ? {} : {'+': right})};
    }
    const f = {};
    for (const name of Object.keys({...left, ...right}).sort()) {
      const member = diff(left[name], right[name]);
      if (!isEmpty(member)) f[name] = member;
    }
    return {f};
  }

  // [patched, what could not be applied]
  function patch(value, found) {
    if (isEmpty(found)) return [value, {}];
    if (!found.f) return same(value, found['-']) ? [found['+'], {}] : [value, found];
    if (!isObject(value)) return [value, found];
    const patched = {...value};
    const f = {};
    for (const [name, member] of Object.entries(found.f)) {
      const [inner, left] = patch(patched[name], member);
      if (inner === undefined) delete patched[name];
      else patched[name] = inner;
      if (!isEmpty(left)) f[name] = left;
    }
    return [patched, isEmpty(f) ? {} : {f}];
  }

  // ── globals ────────────────────────────────────────────────────────────────────────────────────────────────────

  const handlers = {};
  const logger = (stream, self) => (...values) => { ask('log', stream, values.map(shown).join(' ')); return self(); };

  const mldb = {
    log: logger('log', () => mldb),
    perform,
    get: (resource, params, headers) => perform('GET', needed(resource, 0, 'resource'), params, '', headers),
    put: to('PUT'),
    post: to('POST'),
    del: (resource, headers) => perform('DELETE', needed(resource, 0, 'resource'), [], '', headers),
    putAsync: soon('PUT'),
    postAsync: soon('POST'),
    createDataset: (config) => new Dataset(config),
    createProcedure: (config) => new Procedure(config),
    createFunction: (config) => new Function_(config),
    createSensor: (config) => new Entity('sensors', config),
    createInterval: interval,
    createPath: (name) => {
      const given = path(needed(name, 0, 'argument'));
      return new Atom({path: typeof given === 'string' ? elements(given) : given});
    },
    createRandomNumberGenerator: (seed) => new RandomNumberGenerator(seed),
    openStream: (uri) => new Stream(String(needed(uri, 0, 'uri'))),
    ls: (uri) => ask('ls', String(needed(uri, 0, 'dir'))),
    query: (sql) => made(perform('GET', '/v1/query', [], {q: String(needed(sql, 0, 'sql'))})),
    sqlEscape: (text) => `'${String(needed(text, 0, 'str')).replace(/'/g, "''")}'`,
    diff,
    patch,
    getHttpBoundAddress: () => ask('address'),
    getPythonExecutable: () => ask('executable'),
    debugSetPathOptimizationLevel: (level) => { ask('optimize', String(level)); return mldb; },
  };

  const plugin = {
    args: undefined,
    log: logger('logs', () => plugin),
    serveStaticFolder: (route, folder) => {
      ask('static', String(needed(route, 0, 'route')), String(needed(folder, 1, 'dir')));
      return plugin;
    },
    serveDocumentationFolder: document,
    getPluginDir: () => ask('folder'),
    setRequestHandler: (handler) => { handlers.request = checked(handler); return plugin; },
    setStatusHandler: (handler) => { handlers.status = checked(handler); ask('status'); return plugin; },
  };

  let documented = false;

  // On a route of the plugin, and at its /doc. A folder alone is for /doc.
  function document(...given) {
    const folder = String(needed(given[given.length - 1], given.length - 1, 'dir'));
    const route = given.length > 1 ? String(given[0]).replace(/\//g, '') : '';
    if (route !== '') ask('static', route, folder);
    if (!documented) ask('documentation', folder);
    documented = true;
    return plugin;
  }

  function checked(handler) {
    if (typeof handler !== 'function') throw new TypeError('Need a handler: a function');
    return handler;
  }

  // ── mldb/unittest ──────────────────────────────────────────────────────────────────────────────────────────────

  const told = (left, right) => left == right || stringify(left) == stringify(right);

  function assertion(holds, words, received, expected, message) {
    if (holds) return;
    plugin.log('expected', expected);
    plugin.log('received', received);
    throw `Assertion failure: ${message}: ${stringify(received)} ${words} ${stringify(expected)}`;
  }

  function nearly(left, right, path, relativeError) {
    if (left === right || (left !== left && right !== right)) return true;
    if (typeof left === 'number' && typeof right === 'number') {
      if (Math.abs(left - right) < relativeError * Math.max(Math.abs(left), Math.abs(right))) return true;
    } else if (left !== null && right !== null && typeof left === 'object' && typeof right === 'object') {
      const names = Object.keys({...left, ...right});
      return names.map((name) => nearly(left[name], right[name], `${path}.${name}`, relativeError)).every(Boolean);
    }
    mldb.log(`values differ at ${path}: ${shown(left)} and ${shown(right)}`);
    return false;
  }

  const modules = {
    mldb,
    'mldb/unittest': {
      assertEqual: (received, expected, message) =>
        assertion(told(received, expected), 'not equal to', received, expected, message),
      assertNotEqual: (received, expected, message) =>
        assertion(!told(received, expected), 'should not be equal to', received, expected, message),
      assertInSet: (received, allowed, message) =>
        assertion([...allowed].some((one) => told(received, one)), 'not in value set', received, [...allowed], message),
      assertNearlyEqual: (received, expected, path = '', relativeError = 0.01) =>
        nearly(received, expected, path, relativeError),
    },
  };

  function require(name) {
    if (Object.hasOwn(modules, needed(name, 0, 'moduleName'))) return modules[name];
    const known = Object.keys(modules).join(' and ');
    if (String(name).startsWith('mldb/')) {
      throw failure(`Unable to find javascript module ${name}: there are ${known}`, 400, {moduleName: name});
    }
    throw failure(`Only require modules under mldb are supported: ${known}, not ${name}`, 400, {required: name});
  }

  Object.assign(globalThis, {mldb, plugin, require, console: {log: mldb.log, info: mldb.log, warn: mldb.log, error: mldb.log}});

  // ── for the worker ─────────────────────────────────────────────────────────────────────────────────────────────

  function outcome(work) {
    try {
      const value = work();
      return isPromise(value) ? `{"promise":${follow(value)}}` : `{"value":${stringify(value) ?? 'null'}}`;
    } catch (error) {
      return failed(error);
    } finally {
      closeForgotten();
    }
  }

  function failed(error) {
    const known = error instanceof Error;
    const raised = {type: known ? error.name : typeof error, message: String(error), stack: known ? error.stack : ''};
    try { raised.extra = known ? {...error} : error; stringify(raised); } catch (unwritable) { delete raised.extra; }
    return stringify({raised});
  }

  const promises = new Map(); // what they came to, by number
  let followed = 0;

  function follow(promise) {
    const number = ++followed;
    const keep = (work) => (value) => { if (promises.has(number)) promises.set(number, work(value)); };
    promises.set(number, failed(new Error('the promise is not settled, and nothing is left to run that could')));
    then.call(promise, keep((value) => outcome(() => value)), keep(failed));
    return number;
  }

  function settled(number) {
    const text = promises.get(number);
    promises.delete(number);
    return text;
  }

  // What a plugin's code comes to is nobody's, unless it fails later.
  const begun = (value) => isPromise(value) ? then.call(value, () => undefined) : undefined;

  const run = eval; // called by another name, it works in the global scope
  return function (what, text) {
    const given = parse(text);
    if (what === 'args') { plugin.args = globalThis.args = given; return 'null'; }
    if (what === 'script') return outcome(() => run(given));
    if (what === 'main') return outcome(() => begun(run(given)));
    if (what === 'settled') return settled(given.promise);
    if (what === 'status') return outcome(() => handlers.status.call(plugin));
    if (!handlers.request) return 'null';
    return outcome(() => handlers.request.call(plugin, ...given));
  };
})
