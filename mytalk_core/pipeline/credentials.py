"""Content credentials (C2PA): a signed statement in the file that a model edited it, and what it was before.

Needs the package c2pa-python.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import MediaError
from .rendered import AI_SOURCE_TYPE

# The containers that hold them, of those that we write.
MEDIA_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True)
class Credentials:
    """Who signs. certificates: a chain in PEM, the signer's own first; key: its private key in PEM, not
    encrypted."""

    certificates: str
    key: str
    algorithm: str

    @staticmethod
    def load(certificates: str | Path, key: str | Path, output: str | Path) -> Credentials:
        """Read both files, for a video of `output`'s extension.

        Raises: FileNotFoundError; MediaError without the package, for a container that holds no credentials,
        or a key of another kind.
        """
        try:
            import c2pa  # noqa: F401
        except ImportError as error:
            raise MediaError(
                f"content credentials need the package c2pa-python, which cannot be imported ({error}): pip "
                'install "mytalk[provenance]"'
            ) from error
        if Path(output).suffix.lower() not in MEDIA_TYPES:
            raise MediaError(
                f"an output ending in {', '.join(MEDIA_TYPES)} was required for content credentials, but "
                f"{Path(output).name!r} arrived: change its extension"
            )
        key = Path(key)
        algorithm = algorithm_of(key, key.read_bytes())
        try:
            chain = Path(certificates).read_text(encoding="ascii")
        except UnicodeDecodeError:
            chain = ""
        if "BEGIN CERTIFICATE" not in chain:
            raise MediaError(f"a chain of certificates in PEM was required, but {certificates} is none")
        return Credentials(chain, key.read_text(encoding="ascii"), algorithm)

    def seal(self, title: str, sources: Sequence[Path]) -> Callable[[Path], None]:
        """What puts credentials into a finished video, in place: `VideoWriter`'s seal.

        sources: the files that were edited; a single video is named in the credentials, with its own where it
        has some. Raises: MediaError where the library refuses them, as for a certificate that is not for
        signing.
        """
        source = sources[0] if len(sources) == 1 else None
        return lambda file: self._sign(file, title, source)

    def _sign(self, file: Path, title: str, source: Path | None) -> None:
        import c2pa

        signed = file.with_name(f"signed{file.suffix}")
        info = c2pa.C2paSignerInfo(
            self.algorithm.lower().encode(), self.certificates.encode(), self.key.encode(), None
        )
        try:
            with (
                c2pa.Signer.from_info(info) as signer,
                c2pa.Builder(_manifest(title)) as made,
            ):
                media_type = MEDIA_TYPES.get(source.suffix.lower()) if source is not None else None
                if source is not None and media_type is not None:
                    made.set_intent(c2pa.C2paBuilderIntent.EDIT)
                    parent = {"title": source.name, "relationship": "parentOf"}
                    with source.open("rb") as stream:
                        made.add_ingredient(json.dumps(parent), media_type, stream)
                else:
                    made.add_action(_action("c2pa.created"))
                made.add_action(_action("c2pa.edited"))
                made.sign_file(file, signed, signer)
        except c2pa.C2paError as error:
            raise MediaError(
                f"content credentials could not be made ({' '.join(str(error).split())}): give a chain of "
                "certificates for signing, the signer's own first, and its key"
            ) from error
        signed.replace(file)


def algorithm_of(path: Path, key: bytes) -> str:
    """The name of the signature that a private key in PEM makes. Raises MediaError where it makes none."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise MediaError(
            f"a private key in PEM that is not encrypted was required, but {path} is none ({error})"
        ) from error
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in CURVES:
        return CURVES[private.curve.name]
    if isinstance(private, rsa.RSAPrivateKey):
        return "PS256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ED25519"
    raise MediaError(f"a key on P-256, P-384, P-521, Ed25519 or RSA was required, but {path} has another")


def _manifest(title: str) -> str:
    generator = {"name": "MyTalk", "version": __version__}
    return json.dumps({"claim_generator_info": [generator], "title": title, "assertions": []})


def _action(name: str) -> dict[str, Any]:
    agent = {"name": "MyTalk", "version": __version__}
    return {"action": name, "softwareAgent": agent, "digitalSourceType": AI_SOURCE_TYPE}
