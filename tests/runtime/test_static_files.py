"""Static files of plugins as browsers ask for them: again, in part, while they grow."""

from __future__ import annotations

import pytest

SMALL = b"0123456789"
LARGE = bytes(range(256)) * (20 * 2**12)  # 20 MiB: streamed


@pytest.fixture(scope="module")
def folder(server, client):
    plugin = server.data_dir / "source"
    folder = plugin / "static"
    folder.mkdir(parents=True)
    (folder / "small.bin").write_bytes(SMALL)
    (folder / "large.mp4").write_bytes(LARGE)
    (folder / "empty.txt").touch()
    (folder / "page.html").write_text("<a href='{{HTTP_BASE_URL}}/v1'>")
    (plugin / "main.py").write_text("mldb.plugin.serve_static_folder('static', 'static')")
    client.must("PUT", "/v1/plugins/pages", {"type": "python", "params": {"address": f"file://{plugin}"}})
    return folder


def get(client, name, **headers):
    return client.get(f"/v1/plugins/pages/routes/static/{name}", headers=headers)


@pytest.mark.parametrize(("name", "content"), [("small.bin", SMALL), ("large.mp4", LARGE)])
def test_a_file_that_is_known_is_not_sent_again(client, folder, name, content):
    first = get(client, name)
    assert (first.status_code, first.content, first.headers["content-length"]) == (200, content, str(len(content)))
    tag = first.headers["etag"]
    for known in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        again = get(client, name, **{"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert get(client, name, **{"if-none-match": '"x"'}).content == content
    (folder / name).write_bytes(content + b"!")
    changed = get(client, name, **{"if-none-match": tag})
    assert (changed.status_code, changed.content) == (200, content + b"!")
    (folder / name).write_bytes(content)


@pytest.mark.parametrize(("name", "content"), [("small.bin", SMALL), ("large.mp4", LARGE)])
@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)), ("bytes=3-5", slice(3, 6)), ("bytes=7-", slice(7, None)),
        ("bytes=-4", slice(-4, None)), ("bytes=2-99999999999", slice(2, None)), ("bytes=-99999999999", slice(None)),
    ],
)  # fmt: skip
def test_a_part(client, folder, name, content, asked, part):
    answer = get(client, name, range=asked)
    start, stop, _ = part.indices(len(content))
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(content)}"
    assert answer.headers["content-length"] == str(stop - start)
    assert answer.content == content[part]


@pytest.mark.parametrize("name", ["small.bin", "large.mp4"])
def test_parts_that_are_not_there_or_no_longer(client, folder, name):
    size = (folder / name).stat().st_size
    for asked in (f"bytes={size}-", f"bytes={size}-{size + 5}", "bytes=-0"):
        beyond = get(client, name, range=asked)
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    for asked in ("bytes=5-2", "bytes=a-b", "bytes=0-0,2-3", "lines=1-2", "bytes=-", "bytes=" + "9" * 100 + "-"):
        assert get(client, name, range=asked).status_code == 200
    other = get(client, name, range="bytes=0-0", **{"if-range": '"old"'})
    assert (other.status_code, len(other.content)) == (200, size)


def test_odd_files(client, folder):
    assert (get(client, "empty.txt").status_code, get(client, "empty.txt").content) == (200, b"")
    assert get(client, "empty.txt", range="bytes=0-").status_code == 416
    page = get(client, "page.html")
    assert page.text == "<a href='/v1'>"
    assert get(client, "page.html", range="bytes=0-2").text == page.text[:3]
    assert get(client, "page.html", range="bytes=0-2").headers["content-range"] == f"bytes 0-2/{len(page.text)}"


SQL_QUERY = '<a href="/doc/builtin/functions/sql.query.md.html"><code>sql.query</code> function type</a>'


@pytest.mark.parametrize(
    ("macro", "shown"),
    [
        ("doclink sql.query function", SQL_QUERY),
        ("doclink sql.query", "<p>Macro %%doclink needs 2 parameters</p>"),
        (
            'doclink a"b function',
            '<a href="/doc/builtin/functions/a%22b.md.html"><code>a&quot;b</code> function type</a>',
        ),
        ("config procedure null", "<p>A new procedure of type <code>null</code> named <code>&lt;id&gt;</code> can be"),
        ("config procedure import.text", "<tr>\n<td><code>dataFileUrl</code></td>"),
        ("config procedure nosuch", "<p>There is no procedure type <code>nosuch</code>.</p>"),
        ("availabletypes plugin list", '<li><a href="/doc/builtin/plugins/javascript.md.html">javascript</a></li>'),
        ("availabletypes plugin table", "<td><code>javascript</code></td>\n<td>"),
        ("type MLDB::SvdConfig", "<td><code>trainingData</code></td>"),
        ("type MLDB::Nosuch", "<p>Type with name <code>MLDB::Nosuch</code> not found</p>"),
        ("nblink _tutorials/One of many", "<p><em>One of many</em></p>"),
        ("codeexample page.html html", '<pre tabindex="0"><code class="language-html">'),
        ("codeexample ../main.py", "<p>Error running codeexample macro: there is no file <code>../main.py</code></p>"),
        ("unknown a b", "<p>Unable to find macro %%unknown with arguments a b</p>"),
    ],
)
def test_macros_of_mldbs_documentation(client, folder, macro, shown):
    (folder / "macro.md").write_text(f"![](%%{macro})")
    assert shown in get(client, "macro.md").text
    assert client.get("/doc/builtin/functions/sql.query.md.html").status_code == 200


def test_macros_stand_in_lines_and_are_shown_in_code(client, folder):
    (folder / "macro.md").write_text(
        "See ![](%%doclink sql.query function) and `![](%%config a b)`.\n\n```\n![](%%type x)\n```\n"
    )
    text = get(client, "macro.md").text
    assert f"<p>See {SQL_QUERY} and <code>![](%%config a b)</code>.</p>" in text
    assert "![](%%type x)\n</code></pre>" in text


def test_the_base_address_is_put_into_text(client, folder):
    (folder / "here.json").write_text('{"at": "{{HTTP_BASE_URL}}/v1"}')
    assert get(client, "here.json").json() == {"at": "/v1"}


def test_documentation_is_a_folder(client, server):
    folder = server.data_dir / "manual"
    (folder / "doc").mkdir(parents=True)
    (folder / "doc" / "index.md").write_text("[next](next.md)")
    (folder / "main.py").write_text("mldb.plugin.serve_documentation_folder('doc')")
    client.must("PUT", "/v1/plugins/manual", {"type": "python", "params": {"address": f"file://{folder}"}})
    answer = client.get("/v1/plugins/manual/doc", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (301, "/v1/plugins/manual/doc/")
    assert '<a href="next.md.html">next</a>' in client.get("/v1/plugins/manual/doc/").text
