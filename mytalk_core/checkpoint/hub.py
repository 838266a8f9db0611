"""Files of a Hub repository: download, resume, offline use of what is already there, and upload."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase as fnmatch
from functools import partial
from pathlib import Path, PurePosixPath

from ..errors import WeightsError
from ..files import NO_ROOM
from .hub_watch import UnansweredError, watched

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# All that a model consists of; nothing else is ever fetched.
PATTERNS = ("*.safetensors", "*config.json", "*README.md", "LICENSE*")
# Answers of HTTP to somebody unknown, and to somebody without the right to it.
REFUSED = (401, 403)


def is_repository(text: str) -> bool:
    """Whether `text` has the form OWNER/NAME."""
    return _REPOSITORY.fullmatch(text) is not None


def download(
    repository: str, files: tuple[str, ...], subfolder: str | None = None, revision: str | None = None
) -> Path:
    """Fetch files of one repository into the Hub's cache and return the folder they lie in.

    repository: OWNER/NAME; files: names within `subfolder`; revision: branch, tag or commit ("main").
    All files come from one commit. What the cache holds is not fetched again, a broken transfer is resumed,
    and without a connection the cache alone is used. HF_ENDPOINT, HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are
    honoured.

    Raises:
        FileNotFoundError: no such repository, revision or file, or no connection and nothing cached.
        WeightsError: a gated repository without access, a transfer that failed for good, or a Hub that holds
            it up or answers what it must not (see `hub_watch`).
    """
    from huggingface_hub import hf_hub_download

    check_name(repository)
    folder: Path | None = None
    for name in files:
        whole = f"{subfolder}/{name}" if subfolder else name
        fetch = partial(hf_hub_download, repository, whole, revision=revision, endpoint=endpoint())
        with _explained(repository, whole, revision):
            path = Path(_fetched(fetch))
        folder = path.parent
        # The cache names a snapshot's folder by its commit: the other files must come from the same one.
        revision = path.parts[path.parts.index("snapshots") + 1]
    if folder is None:
        raise ValueError(f"at least one file of {repository} must be named")
    return folder


def download_all(repository: str, revision: str | None = None, folder: Path | None = None) -> Path:
    """Fetch a whole model, all parts of one commit, and return its folder: `folder`, or one in the cache.

    Pickle files are left where they are. Without a connection the cache does, but what lies in `folder` may
    be any model. Arguments and errors as in `download`.
    """
    from huggingface_hub import HfApi, errors, hf_hub_download, snapshot_download

    check_name(repository)
    missing = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    with _explained(repository, "all files", revision):
        try:
            facts = watched(
                endpoint(), partial(HfApi(endpoint=endpoint()).model_info, repository, revision=revision)
            )
        except (UnansweredError, *_transfer_errors()) as error:  # type: ignore[misc]
            if isinstance(error, missing):
                raise
            if folder is not None:
                raise errors.LocalEntryNotFoundError(str(folder)) from error
            # Without a connection, what is here already.
            kept = partial(snapshot_download, repository, revision=revision, local_files_only=True)
            try:
                return Path(kept(allow_patterns=list(PATTERNS)))
            except errors.LocalEntryNotFoundError as absent:
                raise absent from error
        names = sorted(sibling.rfilename for sibling in facts.siblings or ())
        names = [name for name in names if any(fnmatch(name, pattern) for pattern in PATTERNS)]
        if not names:
            raise WeightsError(
                f"{repository} on {endpoint()} has none of {', '.join(PATTERNS)}: check the repository"
            )
        fetch = partial(hf_hub_download, repository, local_dir=folder, endpoint=endpoint())
        # All from one commit, whatever is pushed meanwhile.
        for name in names:
            path = Path(_fetched(partial(fetch, name, revision=facts.sha)))
        if folder is not None:
            return folder
        # The cache shall know that commit by the branch's name too.
        _fetched(partial(fetch, names[0], revision=revision))
        return path.parents[len(PurePosixPath(name).parts) - 1]


def upload(
    folder: Path,
    files: tuple[str, ...],
    repository: str,
    message: str,
    private: bool = False,
    revision: str | None = None,
) -> str:
    """Send a model to a repository, made if there is none, as one commit; returns its address.

    files: names within `folder`, or patterns; nothing else is sent. revision: a branch, made if there is
    none. Needs HF_TOKEN or `hf auth login`. Errors as in `download`.
    """
    from huggingface_hub import HfApi

    check_name(repository)
    api = HfApi(endpoint=endpoint())
    with _explained(repository, "upload", revision):
        api.create_repo(repository, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(files),
            revision=revision,
            commit_message=message,
        )
    return commit.commit_url


def read_text(repository: str, name: str, revision: str | None = None) -> str | None:
    """A text file of a repository as it is now, None where there is none; nothing of it is kept here.

    Errors as in `download`.
    """
    from huggingface_hub import errors, hf_hub_download

    check_name(repository)
    missing = (errors.EntryNotFoundError, errors.RevisionNotFoundError, errors.RepositoryNotFoundError)
    with tempfile.TemporaryDirectory() as folder, _explained(repository, name, revision):
        fetch = partial(hf_hub_download, repository, name, revision=revision, local_dir=folder)
        try:
            path = watched(endpoint(), partial(fetch, endpoint=endpoint()))
        except errors.LocalEntryNotFoundError:
            # One that is missing too, since the Hub was not asked.
            raise
        except missing:
            return None
        return Path(path).read_text(encoding="utf-8")


def cached_models() -> dict[str, Path]:
    """Repositories in the Hub's cache that hold a motion model: name -> folder of the newest snapshot."""
    from huggingface_hub import constants, errors, scan_cache_dir

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except errors.CacheNotFound:
        return {}
    newest = {
        repository.repo_id: max(repository.revisions, key=lambda revision: revision.last_modified)
        for repository in repositories
        if repository.repo_type == "model" and repository.revisions
    }
    folders = {name: Path(revision.snapshot_path) for name, revision in sorted(newest.items())}
    return {name: folder for name, folder in folders.items() if (folder / "motion").is_dir()}


def endpoint() -> str:
    """The Hub's address, with no slash behind it: HF_ENDPOINT, or the public one."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _fetched(fetch: Callable[..., str]) -> str:
    """What a download of `hf_hub_download` gives; the cache's where the Hub does not answer."""
    try:
        return watched(endpoint(), fetch)
    except UnansweredError:
        return fetch(local_files_only=True)


def check_name(repository: str) -> None:
    """Raise FileNotFoundError unless `repository` has the form OWNER/NAME."""
    if not is_repository(repository):
        raise FileNotFoundError(f"a Hub repository has the form OWNER/NAME; got {repository!r}")


def _transfer_errors() -> tuple[type[BaseException], ...]:
    """What a connection that breaks off raises."""
    from huggingface_hub import errors

    # The bases are those of the HTTP library that this huggingface_hub is built on.
    return (OSError, *errors.HfHubHTTPError.__bases__)


@contextmanager
def _explained(repository: str, file: str, revision: str | None) -> Iterator[None]:
    """Turn the Hub's errors into ours, which say what to do."""
    from huggingface_hub import errors

    where = _where(repository, revision)
    try:
        yield
    except errors.GatedRepoError as error:
        raise WeightsError(
            f"{where} is gated: accept its terms at {endpoint()}/{repository}, "
            "then set HF_TOKEN or run `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"no repository {where}: check the name; a private one needs HF_TOKEN or `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"no such revision: {where}; check the branch, tag or commit") from error
    except errors.LocalEntryNotFoundError as error:
        raise _not_cached(repository, file, revision, error) from error
    except errors.EntryNotFoundError as error:
        raise _no_file(repository, file, revision) from error
    except _transfer_errors() as error:
        raise _broken_off(where, repository, file, error) from error


def _not_cached(repository: str, file: str, revision: str | None, error: Exception) -> Exception:
    """What to raise where the cache has not what the Hub did not give; the cause of `error` says why."""
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    if try_to_load_from_cache(repository, file, revision=revision) is _CACHED_NO_EXIST:
        # The Hub said so when it could be reached.
        return _no_file(repository, file, revision)
    status = _status(error.__cause__)
    if status in REFUSED:
        return _refused(_where(repository, revision), file, status)
    if status is not None:
        # Not as if there were no such file, without which one may do.
        return WeightsError(
            f"{endpoint()} answered {status}, and {file} of {repository} is not in the cache: try again "
            "later, or set HF_HUB_OFFLINE=1 to do with what is there"
        )
    return FileNotFoundError(
        f"cannot reach {endpoint()}, and {file} of {repository} is not in the cache: connect once to "
        "download it, or give a folder that holds it"
    )


def _broken_off(where: str, repository: str, file: str, error: BaseException) -> WeightsError:
    """What to raise where a transfer came to no good end: the token's fault, this machine's or the line's."""
    status = _status(error)
    if status in REFUSED:
        return _refused(where, file, status)
    if isinstance(error, OSError) and (error.filename is not None or error.errno in NO_ROOM):
        return WeightsError(
            f"{file} of {repository} cannot be kept here ({error}): make room for it, or name another "
            "folder (HF_HOME for the cache)"
        )
    why = " ".join(str(error).split())
    return WeightsError(f"{file}: the transfer with {where} broke off ({why}); run it again")


def _where(repository: str, revision: str | None) -> str:
    return f"{repository}{f' at revision {revision}' if revision else ''} on {endpoint()}"


def _no_file(repository: str, file: str, revision: str | None) -> FileNotFoundError:
    return FileNotFoundError(
        f"no file {file} in {_where(repository, revision)}: check the repository and the subfolder; only "
        "safetensors are read"
    )


def _status(error: BaseException | None) -> int | None:
    """The number of HTTP that the Hub answered, where that is the error; else None."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _refused(where: str, file: str, status: int | None) -> WeightsError:
    return WeightsError(
        f"{file}: {where} refused it ({status}): set HF_TOKEN to a token that is valid and may do this, "
        "or run `hf auth login`"
    )
