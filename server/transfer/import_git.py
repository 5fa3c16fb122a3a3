"""``import.git``: the commits of a repository as rows (entity-types.md §3.4).

Repositories are read by libgit2: neither the git command nor any hook or filter of the repository is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from server.declarations import (
    EntityType,
    OutputDataset,
    ProcedureParams,
    Progress,
    Recorded,
    RunResult,
    Services,
    StatelessProcedure,
)
from server.errors import MldbError
from server.extras import extra
from server.transfer.outputs import record_all, recording_dataset
from server.values.atoms import Atom

_OPERATIONS = {"A": "added", "D": "deleted", "M": "modified", "R": "renamed", "C": "copied", "T": "typechange"}
Values = list[tuple[str, Atom]]


class ImportGitParams(ProcedureParams):
    """Parameters of import.git."""

    repository: str = Field(description="file:// URL of the repository")
    outputDataset: OutputDataset = Field(
        default={}, description="Dataset to create; sparse.mutable unless it says otherwise"
    )
    revisions: list[str] = Field(["HEAD"], description="Revisions and ranges (a..b) whose history is imported")
    importStats: bool = Field(False, description="Count files changed, lines inserted and lines deleted")
    importTree: bool = Field(False, description="Record what each commit did to each file")
    ignoreUnknownEncodings: bool = Field(True, description="Replace what cannot be decoded instead of failing")


class History:
    """The commits of a repository. ``repository`` is pygit2's."""

    def __init__(self, git: Any, repository: Any, params: ImportGitParams) -> None:
        self._git = git
        self._repository = repository
        self._params = params

    def rows(self) -> Iterator[Recorded]:
        """A row for each commit that the revisions reach, the newest first, dated by its commit."""
        for commit in self._walk():
            values = self._commit_values(commit)
            if self._params.importStats or self._params.importTree:
                values += self._change_values(commit)
            time = float(commit.commit_time)
            yield (str(commit.id),), [((name,), value, time) for name, value in values]

    def _walk(self) -> Any:
        walker = self._repository.walk(None, self._git.enums.SortMode.TOPOLOGICAL | self._git.enums.SortMode.TIME)
        for revision in self._params.revisions:
            try:
                spec = self._repository.revparse(revision)
                if spec.to_object is not None:
                    walker.push(spec.to_object.peel(self._git.Commit).id)
                    walker.hide(spec.from_object.peel(self._git.Commit).id)
                else:
                    walker.push(spec.from_object.peel(self._git.Commit).id)
            except (KeyError, ValueError, self._git.GitError) as error:
                raise MldbError(f"The repository has no revision '{revision}': {error}") from None
        return walker

    def _commit_values(self, commit: Any) -> Values:
        committer, author = commit.committer, commit.author
        return [
            ("committer", self._text(committer.raw_name, commit)),
            ("committerEmail", self._text(committer.raw_email, commit)),
            ("author", self._text(author.raw_name, commit)),
            ("authorEmail", self._text(author.raw_email, commit)),
            ("message", self._text(commit.raw_message, commit)),
            ("parentCount", len(commit.parent_ids)),
            *(("parent", str(parent)) for parent in commit.parent_ids),
        ]

    def _text(self, raw: bytes, commit: Any) -> str:
        encoding = commit.message_encoding or "utf-8"
        try:
            return raw.decode(encoding)
        except (LookupError, UnicodeDecodeError) as error:
            if self._params.ignoreUnknownEncodings:
                return raw.decode("utf-8", "replace")
            raise MldbError(f"Commit {commit.id} cannot be decoded: {error}") from None

    def _change_values(self, commit: Any) -> Values:
        """What a commit changed against its first parent; a first commit has added everything."""
        diff = (
            commit.parents[0].tree.diff_to_tree(commit.tree)
            if commit.parents
            else commit.tree.diff_to_tree(swap=True)
        )  # fmt: skip
        diff.find_similar()
        values: Values = []
        if self._params.importStats:
            stats = diff.stats
            values += [
                ("insertions", stats.insertions), ("deletions", stats.deletions), ("filesChanged", stats.files_changed),
            ]  # fmt: skip
        if self._params.importTree:
            values += [value for patch in diff for value in file_values(patch)]
        return values


def file_values(patch: Any) -> Values:
    """What was done to one file: each column is one path element, the file's name in it."""
    delta = patch.delta
    name = (delta.new_file.path if delta.status_char() != "D" else delta.old_file.path) or ""
    _, inserted, deleted = patch.line_stats
    operation = _OPERATIONS.get(delta.status_char(), "modified")
    return [
        ("file", name),
        (f"file.{name}.insertions", inserted),
        (f"file.{name}.deletions", deleted),
        (f"file.{name}.op", operation),
    ]


def opened(services: Services, url: str) -> tuple[Any, Any]:
    """pygit2 and the repository behind a ``file:`` URL; ``MldbError`` when there is none that may be read."""
    if not url.startswith("file:"):
        raise MldbError(f"import.git reads repositories of this machine: a file:// URL, not '{url}'")
    folder = services.urls.folder(url)
    if folder is None:
        raise MldbError(f"There is no folder '{url}'")
    git = extra("pygit2", "git", "Importing git repositories")
    try:
        # Whose files they are is no matter where nothing of the repository is ever run.
        git.option(git.enums.Option.SET_OWNER_VALIDATION, False)
        return git, git.Repository(str(folder), git.enums.RepositoryOpenFlag.NO_SEARCH)
    except (git.GitError, ValueError) as error:
        raise MldbError(f"'{url}' is no git repository: {error}") from None


class ImportGit(StatelessProcedure):
    def check(self, params: ImportGitParams) -> None:
        check_revisions(params.revisions)

    def run(self, params: ImportGitParams, progress: Progress) -> RunResult:
        check_revisions(params.revisions)
        progress.step("iterating", "counter")
        git, repository = opened(self.services, params.repository)
        try:
            rows = History(git, repository, params).rows()
            dataset = recording_dataset(self.services, params.outputDataset, "sparse.mutable")
            return RunResult({"rowCount": record_all(dataset, rows, progress)})
        finally:
            repository.free()


def check_revisions(revisions: Sequence[str]) -> None:
    if not revisions:
        raise MldbError("import.git needs at least one revision")


TYPES = [
    EntityType(
        kind="procedure",
        name="import.git",
        params=ImportGitParams,
        summary="Import the commits of a git repository",
        create=ImportGit.create,
        doc=(
            "Each commit becomes a row named by its hash and dated by its commit time: people, message, parents, and "
            "on demand numbers of changed lines and the files it touched. Needs the extra `git`."
        ),
    )
]
