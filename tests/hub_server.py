"""A Hub on this machine, for tests: the same protocol over HTTP, none of the internet."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import re
import time
from urllib.parse import urlsplit

COMMITS = {"main": "a" * 40, "v2": "b" * 40}
TOKEN = "hf_test"
# Tests replace the one that the library waits with.
SLEEP = time.sleep


class Hub(http.server.ThreadingHTTPServer):
    """Serves and takes `files` {(repository, revision, path): bytes}, in the Hub's own words."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[tuple[str, str, str], bytes] = {}
        # The path under which a mirror has it, which its addresses all begin with.
        self.prefix = ""
        self.gated: set[str] = set()
        self.break_after: int | None = None
        self.failing = False
        # What it answers whatever is asked; a bare number, as proxies and limits of rate give.
        self.status: int | None = None
        # Headers that replace the right ones, seconds between two bytes of a body, or of a head, how long it
        # asks to wait, and a listing of other names.
        self.crafted: dict[str, str] = {}
        self.trickle_s = 0.0
        self.trickle_head = False
        self.asks_to_wait_s = 0
        self.listed: list[str] | None = None
        self.log: list[tuple[str, str, str | None]] = []
        self.blobs: dict[str, bytes] = {}
        self.created: dict[str, str] = {}
        self.messages: list[str] = []

    def handle_error(self, request, client_address):
        """A client that gave up is no error here."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def publish(self, repository: str, folder, revision: str = "main", subfolder: str = "") -> None:
        for path in folder.iterdir():
            self.files[(repository, revision, f"{subfolder}{path.name}")] = path.read_bytes()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def parse_request(self) -> bool:
        whole = super().parse_request()
        if whole:
            self.path = self.path.removeprefix(self.server.prefix)
        return whole

    def _refuse(self, status: int, code: str, commit: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _find(self) -> tuple[str, bytes] | None:
        """(commit, content) of the file asked for, None once an error has been sent."""
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        repository, revision, path = match.groups()
        if self.server.failing or self.server.status:
            return self._refuse(self.server.status or 500, "Internal")
        if repository in self.server.gated:
            return self._refuse(401, "GatedRepo")
        if not any(key[0] == repository for key in self.server.files):
            return self._refuse(404, "RepoNotFound")
        names = {commit: name for name, commit in COMMITS.items()}
        revision = names.get(revision, revision)
        if not any(key[:2] == (repository, revision) for key in self.server.files):
            return self._refuse(404, "RevisionNotFound")
        content = self.server.files.get((repository, revision, path))
        if content is None:
            return self._refuse(404, "EntryNotFound", COMMITS[revision])
        return COMMITS[revision], content

    def send_header(self, keyword, value):
        super().send_header(keyword, self.server.crafted.get(keyword, value))

    def _trickle(self, data: bytes) -> None:
        for byte in data:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            SLEEP(self.server.trickle_s)

    def _answer(self, with_body: bool) -> None:
        self.server.log.append((self.command, self.path, self.headers.get("Range")))
        if self.server.asks_to_wait_s:
            self.send_response(503)
            self.send_header("Retry-After", str(self.server.asks_to_wait_s))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.server.trickle_head:
            self._trickle(b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 10_000)
            return
        found = self._find()
        if found is None:
            return
        commit, content = found
        start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range") or "bytes=0-").group(1))
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not with_body:
            return
        body = content[start:]
        if self.server.break_after is not None and len(body) > self.server.break_after:
            body, self.server.break_after = body[: self.server.break_after], None
            self.close_connection = True
        if self.server.trickle_s:
            self._trickle(body)
        else:
            self.wfile.write(body)

    def _say(self, answer: dict | list) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _listing(self) -> None:
        """/api/models/OWNER/NAME, .../revision/REVISION and .../tree/COMMIT: which files there are."""
        self.server.log.append((self.command, self.path, None))
        if self.server.status:
            return self._refuse(self.server.status, "Internal")
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", urlsplit(self.path).path)
        if match is None:
            return self._say({})
        repository, kind, revision = match.group(1), match.group(2) or "revision", match.group(3) or "main"
        names = {commit: name for name, commit in COMMITS.items()}
        name = names.get(revision, revision)
        files = {key[2]: value for key, value in self.server.files.items() if key[:2] == (repository, name)}
        if not files and repository not in self.server.created:
            known = any(key[0] == repository for key in self.server.files)
            return self._refuse(404, "RevisionNotFound" if known else "RepoNotFound")
        if kind == "revision":
            siblings = [{"rfilename": path} for path in self.server.listed or files]
            return self._say({"id": repository, "sha": COMMITS[name], "siblings": siblings})
        return self._say(
            [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files.items()
            ]
        )

    def do_POST(self):  # noqa: N802
        body = self._body()
        self.server.log.append((self.command, self.path, None))
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not known or self.server.status:
            return self._refuse(self.server.status or 401, "")
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            older = "private" if wanted.get("private") else "public"
            self.server.created[name] = wanted.get("visibility") or older
            return self._say({"url": f"{self.server.url}/{name}", "id": "1", "name": name})
        if self.path.endswith(".git/info/lfs/objects/batch"):
            return self._say(self._lfs_batch(json.loads(body)))
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit|branch)/(.+)", self.path)
        if match is None or match[2] == "branch":
            return self._say({})
        repository, action, revision = match.groups()
        if action == "preupload":
            files = [entry["path"] for entry in json.loads(body)["files"]]
            # Weights go by the large-file protocol, as on the Hub; text goes with the commit.
            modes = {path: "lfs" if path.endswith(".safetensors") else "regular" for path in files}
            kept = {"shouldIgnore": False, "oid": None}
            return self._say({"files": [{"path": p, "uploadMode": m, **kept} for p, m in modes.items()]})
        for line in body.decode().splitlines():
            entry = json.loads(line)
            if entry["key"] == "header":
                self.server.messages.append(entry["value"]["summary"])
                continue
            large = entry["key"] == "lfsFile"
            content = self.server.blobs[entry["value"]["oid"]] if large else entry["value"]["content"]
            content = content if large else base64.b64decode(content)
            self.server.files[(repository, revision, entry["value"]["path"])] = content
        commit = COMMITS[revision]
        return self._say(
            {"commitUrl": f"{self.server.url}/{repository}/commit/{commit}", "commitOid": commit}
        )

    def _lfs_batch(self, asked: dict) -> dict:
        """Where to put each large file: by its SHA-256."""
        objects = [
            {**entry, "actions": {"upload": {"href": f"{self.server.url}/put/{entry['oid']}"}}}
            for entry in asked["objects"]
        ]
        return {"transfer": "basic", "objects": objects}

    def do_PUT(self):  # noqa: N802
        content, oid = self._body(), self.path.rsplit("/", 1)[1]
        self.server.log.append((self.command, self.path, None))
        if hashlib.sha256(content).hexdigest() != oid:
            return self._refuse(422, "WrongHash")
        self.server.blobs[oid] = content
        return self._say({})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_HEAD(self):  # noqa: N802
        self._answer(with_body=False)

    def do_GET(self):  # noqa: N802
        if self.path.startswith("/api/"):
            return self._listing()
        return self._answer(with_body=True)


def stop(server: Hub) -> None:
    server.shutdown()
    server.server_close()
