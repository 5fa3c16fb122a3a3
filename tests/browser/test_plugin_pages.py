"""A page of a plugin as MLDB's are written, in a real browser: it works, and the console's session is not its own."""

import re

import pytest
from playwright.sync_api import expect

from tests.conftest import RunningServer
from tests.rest.test_plugin_pages import INDEX, add_plugin, ready

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

# Nothing here knows of tokens or origins: addresses are of this server, calls are plain XMLHttpRequests.
PAGE = """<!doctype html><title>app</title><p id=out></p><script>
function ask(verb, path, then) {
  var call = new XMLHttpRequest();
  call.open(verb, path);
  call.onload = function () { then(call.status, call.responseText); };
  call.send();
}
ask('GET', '/v1/query?format=aos&q=' + encodeURIComponent('SELECT 40 + 2 AS x'), function (_, rows) {
  ask('POST', '/v1/plugins/app/routes/any', function (status) {
    document.getElementById('out').textContent = JSON.parse(rows)[0].x + ' ' + status;
  });
});
</script>"""
# What a page may try against the console: everything that a script can do with its visitor's session.
ATTACK = """async (console_) => {
  const seen = {cookie: document.cookie, storage: Object.keys(localStorage).length};
  const attempt = async (name, address, options) => {
    try {
      const answer = await fetch(address, options);
      seen[name] = answer.type === 'opaque' ? 'unreadable' : answer.status;
    } catch { seen[name] = 'refused'; }
  };
  const plugin = JSON.stringify({type: 'python', params: {source: {main: '1', routes: '1'}}});
  const script = JSON.stringify({source: '1'});
  const run = '/v1/types/plugins/python/routes/run';
  await attempt('makes a plugin here', '/v1/plugins/evil', {method: 'PUT', body: plugin});
  await attempt('runs a script here', run, {method: 'POST', body: script});
  await attempt('reads the console', console_ + '/', {credentials: 'include'});
  await attempt('reads data there', console_ + '/v1/datasets', {credentials: 'include'});
  await attempt('makes a plugin there', console_ + '/v1/plugins/evil2', {
    method: 'PUT', body: plugin, credentials: 'include'});
  await attempt('posts there', console_ + '/v1/plugins', {
    method: 'POST', mode: 'no-cors', body: plugin, credentials: 'include'});
  await attempt('runs a script there', console_ + run, {
    method: 'POST', mode: 'no-cors', body: script, credentials: 'include'});
  await attempt('looks there', console_ + '/v1/datasets', {mode: 'no-cors', credentials: 'include'});
  // What a window shows, as soon as it is no longer the empty page that every window begins with.
  const looked = async (view) => {
    for (;;) {
      try {
        if (view.location.href !== 'about:blank') return view.document.title;
      } catch { return 'refused'; }
      await new Promise((done) => setTimeout(done, 50));
    }
  };
  seen.document = await looked(window.open(console_ + '/login'));
  const frame = document.createElement('iframe');
  frame.src = console_ + '/';
  document.body.append(frame);
  seen.frame = await looked(frame.contentWindow);
  return seen;
}"""


@pytest.fixture
def make_server(tmp_path, chromium):
    running = []

    def make(*flags):
        add_plugin(tmp_path / "data", PAGE)
        running.append(RunningServer(tmp_path / "data", *flags))
        with running[0].client() as client:
            client.headers["authorization"] = "Bearer secret"
            ready(client)
        return running[0]

    yield make
    for each in running:
        each.stop()


def plugins(server):
    with server.client() as client:
        return client.get("/v1/plugins", headers={"authorization": "Bearer secret"}).json()


def test_an_unchanged_page_works_without_a_token(browser, make_server):
    server = make_server()
    page = browser.new_page()
    page.goto(server.url + INDEX)
    expect(page.locator("#out")).to_have_text("42 200")
    page.close()


def test_a_page_cannot_use_the_session_of_the_console(browser, make_server):
    server = make_server("--token", "secret")
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url + "/")
    page.get_by_label("Token").fill("secret")
    page.get_by_role("button").click()
    page.wait_for_url(server.url + "/")
    # From the console, as its users come: signed in once, and the page is there at its own origin.
    page.goto(server.url + INDEX)
    expect(page.locator("#out")).to_have_text("42 200")
    assert re.match(r"http://[^/]+", page.url)[0] != server.url
    assert "ticket" not in page.url
    seen = page.evaluate(ATTACK, server.url)
    assert seen["cookie"] == ""
    assert (seen["makes a plugin here"], seen["runs a script here"]) == (403, 403)
    for attempt in ("reads the console", "reads data there", "makes a plugin there", "document", "frame"):
        assert seen[attempt] == "refused", (attempt, seen)
    for attempt in ("posts there", "runs a script there", "looks there"):
        assert seen[attempt] in ("unreadable", "refused"), (attempt, seen)
    assert plugins(server) == ["app"]
    # The console itself still may: the session of this very browser is good there.
    page.goto(server.url + "/v1/datasets")
    assert page.evaluate("(b) => fetch('/v1/datasets').then((a) => a.status)") == 200
    context.close()
