"""A script that a server runs at its start, as MLDB's ``--run-script`` does."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.errors import MldbError

if TYPE_CHECKING:
    from server.declarations import Services


@dataclass(frozen=True)
class StartScript:
    """It decides the exit code unless the server is to ``stay``.

    ``args_url``: where its args are read from, as JSON; empty for ``args``.
    """

    file: Path
    args: Any
    stay: bool
    args_url: str

    def run(self, services: Services) -> int | None:
        """Run it through the script runner and print the answer; the server's exit code, None when it is to stay.

        Called from a thread.
        """
        try:
            args = self._args(services)
        except MldbError as error:
            print(f"the script's args: {error.message}", file=sys.stderr, flush=True)  # noqa: T201
            return 1
        language = "javascript" if self.file.suffix == ".js" else "python"
        body = {"address": self.file.as_uri(), "args": args}
        answer = services.perform("POST", f"/v1/types/plugins/{language}/routes/run", (), body)
        print(answer.body.decode("utf-8", "replace"), flush=True)  # noqa: T201
        if self.stay:
            return None
        return 0 if answer.status == 200 else 1

    def _args(self, services: Services) -> Any:
        if not self.args_url:
            return self.args
        from server.entities import jsontext

        return jsontext.parse(services.urls.read(self.args_url).content)
