"""Scripts: what they see, what they return, how they fail."""

import asyncio

from runtime import protocol
from tests.runtime.harness import host


def run(source, args=None, **limits):
    async def main():
        async with host() as there:
            answer = await there.script(source, args, **limits)
            return answer, there

    return asyncio.run(main())


def test_result_and_prints():
    answer, there = run("print('hi')\nrequest.set_return({'b': 2.0, 'a': [1]})")
    assert answer.kind == protocol.RETURNED
    assert answer.body == b'{"a":[1],"b":2.0}'
    output = answer.output().plain()
    assert [(entry["s"], entry["c"]) for entry in output["logs"]] == [("stdout", "hi")]
    assert there.logged() == ["hi"]
