"""Files of a Hub repository: download, resume, and offline use of what is already there."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import WeightsError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


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
        WeightsError: a gated repository without access, or a transfer that failed for good.
    """
    if not is_repository(repository):
        raise FileNotFoundError(f"a Hub repository has the form OWNER/NAME; got {repository!r}")
    folder = None
    for name in files:
        path = _download_file(repository, name, subfolder, revision)
        folder = path.parent
        # The cache names a snapshot's folder by its commit: the other files must come from the same one.
        revision = path.parts[path.parts.index("snapshots") + 1]
    return folder


def _download_file(repository: str, name: str, subfolder: str | None, revision: str | None) -> Path:
    from huggingface_hub import errors, hf_hub_download

    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    file = f"{subfolder}/{name}" if subfolder else name
    where = f"{repository}{f' at revision {revision}' if revision else ''} on {endpoint}"
    try:
        return Path(
            hf_hub_download(repository, name, subfolder=subfolder, revision=revision, endpoint=endpoint)
        )
    except errors.GatedRepoError as error:
        raise WeightsError(
            f"{where} is gated: accept its terms at {endpoint}/{repository}, "
            "then set HF_TOKEN or run `hf auth login`"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(
            f"no repository {where}: check the name; a private one needs HF_TOKEN or `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise FileNotFoundError(f"no such revision: {where}; check the branch, tag or commit") from error
    except errors.LocalEntryNotFoundError as error:
        raise FileNotFoundError(
            f"cannot reach {endpoint}, and {file} of {repository} is not in the cache: connect once to "
            "download it, or give a folder that holds it"
        ) from error
    except errors.EntryNotFoundError as error:
        raise FileNotFoundError(
            f"no file {file} in {where}: check the repository and the subfolder; only safetensors are read"
        ) from error
    # The bases are those of the HTTP library that this huggingface_hub is built on.
    except (OSError, *errors.HfHubHTTPError.__bases__) as error:
        raise WeightsError(f"downloading {file} of {where} failed ({error}); run it again") from error
