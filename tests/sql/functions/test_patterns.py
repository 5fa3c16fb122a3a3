from __future__ import annotations

import pytest

from server.errors import MldbError
from server.sql.functions.patterns import compile_regex, extract_domain, regex_replace


@pytest.mark.parametrize(
    ("text", "pattern", "template", "result"),
    [
        ("abcabc", "b", "X", "aXcaXc"),
        ("john smith", r"(\w+) (\w+)", r"$2, \1", "smith, john"),
        ("ab", "b", "[$&]", "a[b]"),
        ("a", "(a)|(b)", "<$2$9>", "<>"),
        ("cost", "cost", "$$5", "$5"),
        ("a1", "[[:digit:]]", "#", "a#"),
        ("foobar", "foo(?=bar)", "x", "xbar"),
    ],
)
def test_regex_replace(text: str, pattern: str, template: str, result: str) -> None:
    assert regex_replace(text, pattern, template) == result


@pytest.mark.parametrize("pattern", ["(", "[a", "a{99999999999999}", "*"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(MldbError, match="must adhere to Perl-style regular expression syntax") as caught:
        compile_regex(pattern)
    assert f"Error when compiling regex '{pattern}'" in caught.value.message


@pytest.mark.parametrize(
    ("url", "remove", "domain"),
    [
        ("http://www.mldb.ai:80/x?y=http://z", False, "www.mldb.ai"),
        ("https://a.b.mldb.ai", True, "mldb.ai"),
        ("http://10.1.2.3/", True, "10.1.2.3"),
        ("http://localhost/", True, "localhost"),
    ],
)
def test_extract_domain(url: str, remove: bool, domain: str) -> None:
    assert extract_domain(url, remove_subdomain=remove) == domain


@pytest.mark.parametrize(
    ("url", "message"), [("mldb.ai", "Attempt to create a URL without a scheme"), ("http://[1", "not a URL")]
)
def test_bad_urls(url: str, message: str) -> None:
    with pytest.raises(MldbError, match=message):
        extract_domain(url)
