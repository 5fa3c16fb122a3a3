"""Files, memory, compression and archives behind URLs (entity-types.md §1.8; security.md rows 2-4, 7, 8)."""

from __future__ import annotations

import gzip
import io
import os
import resource
import tarfile
import zipfile
from pathlib import Path

import pytest

from server.errors import MldbError, NotFound
from server.settings import Settings
from server.transfer.urls import Urls

TEXT = b"hello\n" * 5000


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data" / "plugins").mkdir(parents=True)
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def urls(root):
    return Urls(
        Settings(data_dir=root.parent / "data", file_root=[root], archive_size=1, archive_ratio=100, memory_files=1)
    )


def refusal(call, *arguments):
    with pytest.raises(MldbError) as caught:
        call(*arguments)
    return caught.value


def write(urls, url, content=TEXT):
    with urls.open_write(url) as file:
        file.write(content)


# ── files ──


@pytest.mark.parametrize("suffix", ["", ".gz", ".gzip", ".bz2", ".bzip2", ".xz", ".lzma", ".zst", ".zstd", ".lz4"])
def test_round_trip(urls, root, suffix):
    url = f"file://{root}/new/folder/a.txt{suffix}"
    write(urls, url)
    assert urls.read(url).content == TEXT
    packed = (root / f"new/folder/a.txt{suffix}").read_bytes()
    assert (packed == TEXT) == (not suffix)
    assert urls.local_path(url) == (None if suffix else root / "new/folder/a.txt")
    assert urls.read(url).last_modified == (root / f"new/folder/a.txt{suffix}").stat().st_mtime


def test_names_with_blanks_and_escapes(urls, root):
    (root / "a b.txt").write_bytes(b"1")
    (root / "c%20d.txt").write_bytes(b"2")
    (root / "é.txt").write_bytes(b"3")
    assert urls.read(f"file://{root}/a b.txt").content == b"1"
    assert urls.read(f"file://{root}/a%20b.txt").content == b"1"
    assert urls.read(f"file://{root}/c%20d.txt").content == b"2"
    assert urls.read(f"file://{root}/%C3%A9.txt").content == b"3"


def test_relative_to_the_working_directory(root, monkeypatch):
    monkeypatch.chdir(root)
    (root / "x.txt").write_bytes(b"1")
    urls = Urls(Settings(data_dir=root.parent / "data"))
    assert urls.read("file://x.txt").content == b"1"
    assert urls.read(f"file://{root}/x.txt").content == b"1"


def test_the_data_root_has_a_name(urls, root):
    write(urls, "file:///mldb_data/models/m.txt", b"1")
    assert (root.parent / "data/models/m.txt").read_bytes() == b"1"
    assert urls.read("file://mldb_data/models/m.txt").content == b"1"  # as MLDB's notebooks write it


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "{root}/../outside", "{root}/../rootx/a", "{root}/%2e%2e/outside", "{root}/..%2foutside",
        "{root}/a/../../outside", "/proc/self/environ", "//etc/passwd", "{root}/link/passwd", "{root}/out", "/",
        "../../../../../../etc/passwd", "{root}\\..\\..\\outside/..",
    ],
)  # fmt: skip
def test_nothing_outside_the_roots(urls, root, path):
    (root.parent / "outside").write_bytes(b"secret")
    (root.parent / "rootx").mkdir()
    (root.parent / "rootx" / "a").write_bytes(b"secret")
    (root / "link").symlink_to("/etc")
    (root / "out").symlink_to(root.parent / "outside")
    url = "file://" + path.format(root=root)
    for call in (urls.read, urls.open_write, urls.list, urls.stat, urls.delete, urls.local_path):
        assert "outside the folders" in refusal(call, url).message
    assert refusal(urls.read, url).code == 403
    assert (root.parent / "outside").read_bytes() == b"secret"


def test_nul_in_a_name(urls, root):
    for url in (f"file://{root}/a\0b", f"file://{root}/a%00b"):
        assert "NUL" in refusal(urls.read, url).message


def test_the_server_keeps_its_state_to_itself(urls, root):
    data = root.parent / "data"
    for name in ("mldb.duckdb", "mldb.duckdb.wal", "credentials.json", ".mldb_credentials"):
        (data / name).write_bytes(b"secret")
        (root / "link").unlink(missing_ok=True)
        (root / "link").symlink_to(data / name)
        for url in (f"file://{data}/{name}", f"file:///mldb_data/{name}", f"file://{root}/link"):
            assert "server's own state" in refusal(urls.read, url).message
            assert "server's own state" in refusal(urls.open_write, url).message
    assert urls.list(f"file://{data}")["objects"] == {}


def test_the_server_itself_cannot_be_written(root, monkeypatch):
    import server

    install = Path(server.__file__).parent
    urls = Urls(Settings(data_dir=root.parent / "data", file_root=[install.parent]))
    for name in ("server/errors.py", "server/new.csv", "runtime/x.txt", "static/x.js"):
        assert "files of the server itself" in refusal(urls.open_write, f"file://{install.parent}/{name}").message
    assert not (install / "new.csv").exists()


@pytest.mark.parametrize(
    "name",
    ["main.py", "routes.PY", "a.pyc", "x.so", "static/index.html", "static/a.js", "a.svg", "doc/index.md",
     "mldb_plugin.json", "requirements.txt", "pyproject.toml", "sub/deep/mod.py"],
)  # fmt: skip
def test_no_code_or_pages_into_plugin_folders(urls, root, name):
    folder = root / "watched"
    folder.mkdir()
    (root / "alias").symlink_to(root.parent / "data" / "plugins")
    urls.access.protect(folder)
    for base in ("file:///mldb_data/plugins/p", f"file://{folder}", f"file://{root}/alias/p"):
        assert "plugin folder" in refusal(urls.open_write, f"{base}/{name}").message
        assert "plugin folder" in refusal(urls.check_writable, f"{base}/{name}", "modelFileUrl").message
        assert "plugin folder" in refusal(urls.delete, f"{base}/{name}").message
    write(urls, f"file://{folder}/model.cls", b"1")
    write(urls, "file:///mldb_data/plugins/p/prediction.csv.gz", b"1")


def test_writing_is_all_or_nothing(urls, root):
    write(urls, f"file://{root}/a", b"old")

    def fail():
        with urls.open_write(f"file://{root}/a") as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (root / "a").read_bytes() == b"old"
    abandoned = urls.open_write(f"file://{root}/a")
    abandoned.write(b"half")
    del abandoned
    assert [path.name for path in root.iterdir()] == ["a"]
    assert (root / "a").read_bytes() == b"old"


@pytest.mark.parametrize("end", ["close", "discard"])
def test_nothing_stays_of_what_the_disk_does_not_take(urls, root, end):
    file = urls.open_write(f"file://{root}/large")
    file.write(b"x" * 100_000)  # still in the buffer
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        if end == "close":
            with pytest.raises(OSError, match="File too large"):
                file.close()
        else:
            file.discard()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [entry.name for entry in root.iterdir() if "large" in entry.name]


def test_what_is_no_file(urls, root):
    os.mkfifo(root / "pipe")
    assert "not a regular file" in refusal(urls.read, f"file://{root}/pipe").message
    assert "Is a directory" in refusal(urls.read, f"file://{root}").message
    assert "No such file or directory" in refusal(urls.read, f"file://{root}/none").message
    assert isinstance(refusal(urls.read, f"file://{root}/none"), NotFound)
    assert refusal(urls.read, f"file://{root}/none").code == 400


def test_read_has_a_limit(urls, root):
    (root / "a").write_bytes(b"x" * 100)
    assert urls.read(f"file://{root}/a", limit=100).content == b"x" * 100
    assert "larger than 99 bytes" in refusal(lambda: urls.read(f"file://{root}/a", limit=99)).message


def test_list_and_stat(urls, root):
    (root / "d").mkdir()
    (root / "f").write_bytes(b"abc")
    listing = urls.list(f"file://{root}")
    assert listing["dirs"] == [f"file://{root}/d"]
    (found,) = listing["objects"].items()
    assert found[0] == f"file://{root}/f"
    assert set(found[1]) == {
        "exists", "lastModified", "size", "etag", "storageClass", "ownerId", "ownerName", "contentType",
        "objectMetadata", "userMetadata",
    }  # fmt: skip
    assert (found[1]["size"], found[1]["exists"]) == (3, True)
    assert urls.stat(f"file://{root}/f").size == 3
    assert not urls.stat(f"file://{root}/none").exists
    urls.delete(f"file://{root}/f")
    assert urls.list(f"file://{root}")["objects"] == {}


def test_a_file_that_is_being_written_has_no_name(urls, root):
    """So nothing stays of one that a kill breaks off."""
    try:
        os.close(os.open(root, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        pytest.skip("this file system has no files without a name")
    (root / "a").write_bytes(b"old")
    file = urls.open_write(f"file://{root}/a")
    file.write(TEXT * 100)
    assert list(root.iterdir()) == [root / "a"]
    file.close()
    assert (root / "a").read_bytes() == TEXT * 100
    assert (root / "a").stat().st_mode & 0o777 == 0o644
    assert list(root.iterdir()) == [root / "a"]


def test_check_writable(urls, root):
    urls.check_writable(f"file://{root}/new/model.cls", "modelFileUrl")
    assert list((root / "new").iterdir()) == []
    message = refusal(urls.check_writable, "file:///model.cls", "modelFileUrl").message
    assert message.startswith("Error when trying to create folder specified in parameter 'modelFileUrl'")
    message = refusal(urls.check_writable, f"file://{root}/new", "modelFileUrl").message
    assert message.startswith(
        "Error when trying to write to file specified in parameter 'modelFileUrl'. Value: 'file://"
    )
    assert "Exception: " in message
    assert "Is a directory" in message


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (
            "some/file",
            "Attempt to create a URL without a scheme: 'some/file'. A local file is written "
            "file:///mldb_data/some/file (below the data root) or file://some/file "
            "(below the server's working directory)",
        ),
        (
            "/some/file",
            "Attempt to create a URL without a scheme: '/some/file'. A local file is written file:///some/file",
        ),
        ("", "Attempt to create a URL without a scheme"),
        ("gopher://x", "Uri handler not found for scheme"),
        ("ftp://x/y", "Uri handler not found for scheme"),
        ("data:text/plain,x", "Uri handler not found for scheme"),
        ("archive+gopher://x#y", "Uri handler not found for scheme"),
        (
            "archive+file://x.zip",
            "Extracting a file from an archive requires a # between archive URI and path within archive",
        ),
        ("archive+file:///etc/x.zip#y", "outside the folders"),
    ],
)
def test_refused_urls(urls, url, text):
    assert text in refusal(urls.read, url).message


def test_memory(urls):
    write(urls, "mem://a/b.gz")
    assert urls.read("mem://a/b.gz").content == TEXT
    assert urls.stat("mem://a/b.gz").size < len(TEXT)
    assert "memory_files" in refusal(write, urls, "mem://big", b"x" * (1 << 20 | 1)).message
    assert "No such file" in refusal(urls.read, "mem://big").message
    urls.delete("mem://a/b.gz")
    assert not urls.stat("mem://a/b.gz").exists


def test_broken_packed_files(urls, root):
    packed = gzip.compress(os.urandom(100_000))
    for name, content in (
        ("a.gz", packed[:5000]),
        ("b.gz", b"no gzip"),
        ("c.xz", b"x"),
        ("d.zst", b"x"),
        ("e.lz4", b"x"),
        ("f.bz2", b"x"),
    ):
        (root / name).write_bytes(content)
        message = refusal(urls.read, f"file://{root}/{name}").message
        assert "decompress" in message or "ended early" in message, name


def test_packed_bomb(urls, root):
    (root / "bomb.gz").write_bytes(gzip.compress(bytes(5 << 20)))
    assert "archive_size" in refusal(urls.read, f"file://{root}/bomb.gz").message
    generous = Urls(Settings(data_dir=root.parent / "data", file_root=[root], archive_ratio=100))
    (root / "bomb.gz").write_bytes(gzip.compress(bytes(80 << 20)))
    assert "archive_ratio" in refusal(generous.read, f"file://{root}/bomb.gz").message


# ── archives ──


def zipped(members, **options):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def tarred(members, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1_000_000
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("a.zip", zipped),
        ("a.tar", tarred),
        ("a.tar.gz", lambda members: tarred(members, "w:gz")),
        ("a.tgz", lambda members: tarred(members, "w:gz")),
        ("a.tar.bz2", lambda members: tarred(members, "w:bz2")),
        ("a.txz", lambda members: tarred(members, "w:xz")),
    ],
)
def test_members(urls, root, name, pack):
    (root / name).write_bytes(
        pack([("d/a.txt", b"1"), ("d/b.txt.gz", gzip.compress(b"2")), ("c#d", b"3"), ("e", b"4")])
    )
    base = f"archive+file://{root}/{name}"
    assert urls.read(f"{base}#d/a.txt").content == b"1"
    assert urls.read(f"{base}#./d/a.txt").content == b"1"
    assert urls.read(f"{base}#d/b.txt.gz").content == b"2"
    assert urls.read(f"{base}#c#d").content == b"3"
    assert "No such file or directory" in refusal(urls.read, f"{base}#none").message
    listing = urls.list(f"{base}#")
    assert listing["dirs"] == [f"{base}#d"]
    assert urls.list(base) == listing
    assert list(listing["objects"]) == [f"{base}#c#d", f"{base}#e"]
    assert list(urls.list(f"{base}#d")["objects"]) == [f"{base}#d/a.txt", f"{base}#d/b.txt.gz"]
    assert urls.local_path(f"{base}#e") is None
    assert "cannot be written" in refusal(urls.open_write, f"{base}#new").message


def test_archive_in_an_archive(urls, root):
    inner = zipped([("x/y.txt", b"deep")])
    (root / "o.tar.gz").write_bytes(tarred([("in/i.zip", inner)], "w:gz"))
    assert urls.read(f"archive+archive+file://{root}/o.tar.gz#in/i.zip#x/y.txt").content == b"deep"


def test_members_that_would_escape_are_only_names(urls, root):
    (root / "slip.zip").write_bytes(zipped([("../../evil.txt", b"x"), ("/etc/evil", b"y")]))
    assert urls.read(f"archive+file://{root}/slip.zip#../../evil.txt").content == b"x"
    assert sorted(path.name for path in root.iterdir()) == ["slip.zip"]


def test_hostile_tar_members(urls, root):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (
            ("sym", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("dev", tarfile.CHRTYPE),
            ("fifo", tarfile.FIFOTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    (root / "h.tar").write_bytes(out.getvalue())
    for name in ("sym", "hard", "dev", "fifo"):
        assert "not a regular file" in refusal(urls.read, f"archive+file://{root}/h.tar#{name}").message


def test_symbolic_link_in_a_zip(urls, root):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    (root / "l.zip").write_bytes(zipped([(info, "/etc/passwd")]))
    assert "not a regular file" in refusal(urls.read, f"archive+file://{root}/l.zip#link").message


def test_repeated_members(urls, root):
    with pytest.warns(UserWarning, match="Duplicate name"):
        (root / "d.zip").write_bytes(zipped([("a", b"1"), ("a", b"2")]))
    assert "several members" in refusal(urls.read, f"archive+file://{root}/d.zip#a").message


def test_zip_bomb(urls, root):
    (root / "b.zip").write_bytes(zipped([("zeros", bytes(3 << 20)), ("small", b"1")]))
    assert "archive_size" in refusal(urls.read, f"archive+file://{root}/b.zip#zeros").message
    assert urls.read(f"archive+file://{root}/b.zip#small").content == b"1"


def test_zip_that_lies_about_its_sizes(urls, root):
    raw = zipped([("a", bytes(3 << 20))])
    lying = raw.replace((3 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    (root / "lie.zip").write_bytes(lying)
    assert "decompress" in refusal(urls.read, f"archive+file://{root}/lie.zip#a").message


def test_tar_with_a_huge_extended_header(urls, root):
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    (root / "p.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "unreasonable size" in refusal(urls.read, f"archive+file://{root}/p.tar#a").message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"\x1f\x8b nonsense", b"nonsense" * 100])
def test_broken_archives(urls, root, content):
    (root / "x.zip").write_bytes(content)
    assert refusal(urls.read, f"archive+file://{root}/x.zip#a").code == 400


def test_truncated_archives(urls, root):
    for name, raw in (
        ("t.zip", zipped([("a", os.urandom(9000))])),
        ("t.tgz", tarred([("a", os.urandom(9000))], "w:gz")),
    ):
        for cut in range(1, len(raw), 700):
            (root / name).write_bytes(raw[:cut])
            assert refusal(urls.read, f"archive+file://{root}/{name}#a").code == 400


def test_encrypted_member(urls, root):
    raw = bytearray(zipped([("a", b"1")]))
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    (root / "e.zip").write_bytes(raw)
    assert "encrypted" in refusal(urls.read, f"archive+file://{root}/e.zip#a").message


def test_open_files_do_not_leak(urls, root):
    (root / "a.zip").write_bytes(zipped([("a", b"1")]))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        urls.read(f"archive+file://{root}/a.zip#a")
        refusal(urls.read, f"archive+file://{root}/a.zip#none")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_the_root_folder_of_the_machine_cannot_be_written(tmp_path):
    urls = Urls(Settings(data_dir=tmp_path / "data", file_root=[Path("/")]))
    with pytest.raises(MldbError, match="nothing can be written to the root folder"):
        urls.open_write("file:///written.csv")
    with pytest.raises(MldbError, match="Error when trying to create folder specified in parameter 'modelFileUrl'"):
        urls.check_writable("file:///model.cls", "modelFileUrl")


def test_the_working_directory_is_listed(root, monkeypatch):
    (root / "sub").mkdir()
    (root / "sub" / "b.txt").write_text("b")
    (root / "a.txt").write_text("a")
    monkeypatch.chdir(root)
    urls = Urls(Settings(data_dir=root.parent / "data"))
    listing = urls.list("file://")
    assert (listing["dirs"], list(listing["objects"])) == (["file://sub"], ["file://a.txt"])
    assert list(urls.list("file://sub/")["objects"]) == ["file://sub/b.txt"]
    assert list(urls.list(f"file://{root}/")["objects"]) == [f"file://{root}/a.txt"]
