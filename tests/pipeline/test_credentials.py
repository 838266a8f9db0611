"""Content credentials: signed, with what was edited by what; one line where they cannot be made."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from repository import EXAMPLES

from mytalk_core.errors import MediaError
from mytalk_core.media.arranged import part_of
from mytalk_core.media.file_clip import FileClip
from mytalk_core.pipeline import LipSync, lip_sync, write

c2pa = pytest.importorskip("c2pa")
from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: E402

SPEECH = EXAMPLES / "speech_en.wav"
USES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
USES += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")


def certificate(name: str, issuer: str, own: ec.EllipticCurvePrivateKey, signed_by, **uses: bool):
    """A certificate as C2PA wants one."""
    named = [
        x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, n), x509.NameAttribute(NameOID.ORGANIZATION_NAME, n)]
        )
        for n in (name, issuer)
    ]
    begin = datetime.datetime(2020, 1, 1)
    keys = x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_by.public_key())
    return (
        x509.CertificateBuilder(issuer_name=named[1], subject_name=named[0], public_key=own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=36500))
        .add_extension(x509.BasicConstraints(name == issuer, None), True)
        .add_extension(x509.KeyUsage(**(dict.fromkeys(USES, False) | uses)), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(keys, False)
        .sign(signed_by, hashes.SHA256())
    )


@pytest.fixture
def signer(tmp_path) -> tuple[Path, Path]:
    """A chain of two certificates, and the key of the first."""
    root, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = [
        certificate("studio", "root", own, root, digital_signature=True),
        certificate("root", "root", root, root, key_cert_sign=True),
    ]
    pem = serialization.Encoding.PEM
    (tmp_path / "chain.pem").write_bytes(b"".join(one.public_bytes(pem) for one in chain))
    private = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(private)
    return tmp_path / "chain.pem", tmp_path / "key.pem"


@pytest.fixture(scope="module")
def model():
    return LipSync.from_pretrained("mini")


def test_the_output_says_what_edited_what(tmp_path, model, signer):
    video, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    write(part_of(FileClip.open(EXAMPLES / "ai_woman.mp4"), 0, 0.2), video)
    plain = lip_sync(video, SPEECH, tmp_path / "plain.mp4", model=model)
    report = lip_sync(video, SPEECH, output, model=model, credentials=signer)
    assert report.frames_edited == plain.frames_edited == 5
    store = json.loads(c2pa.Reader(str(output)).json())
    assert {status["code"] for status in store.get("validation_status", [])} <= {
        "signingCredential.untrusted"
    }
    manifest = store["manifests"][store["active_manifest"]]
    assert [(one["title"], one["relationship"]) for one in manifest["ingredients"]] == [
        ("in.mp4", "parentOf")
    ]
    (actions,) = (one["data"]["actions"] for one in manifest["assertions"] if "actions" in one["label"])
    assert [action["action"] for action in actions] == ["c2pa.opened", "c2pa.edited"]
    assert actions[1]["digitalSourceType"].endswith("compositeWithTrainedAlgorithmicMedia")
    # The pictures are the same, and a bit more or less is found out.
    pairs = zip(
        *(FileClip.open(p).frames(batch_size=9) for p in (output, tmp_path / "plain.mp4")), strict=True
    )
    assert all((one == other).all() for one, other in pairs)
    data = bytearray(output.read_bytes())
    data[data.rindex(b"mdat") + 40] ^= 1
    (tmp_path / "changed.mp4").write_bytes(data)
    changed = json.loads(c2pa.Reader(str(tmp_path / "changed.mp4")).json())
    assert "assertion.bmffHash.mismatch" in {status["code"] for status in changed["validation_status"]}


def test_what_cannot_be_signed_is_one_line_before_the_work(tmp_path, model, signer):
    video, (chain, key) = EXAMPLES / "ai_woman.mp4", signer
    known = sorted(path.name for path in tmp_path.iterdir())
    for output, credentials, line in (
        ("out.mkv", signer, "an output ending in .mp4, .m4v, .mov was required"),
        ("out.mp4", (key, key), "a chain of certificates in PEM was required"),
        ("out.mp4", (chain, chain), "a private key in PEM that is not encrypted was required"),
    ):
        with pytest.raises(MediaError, match=line):
            lip_sync(video, SPEECH, tmp_path / output, model=model, credentials=credentials)
    with pytest.raises(FileNotFoundError):
        lip_sync(video, SPEECH, tmp_path / "out.mp4", model=model, credentials=(chain, tmp_path / "none"))
    assert sorted(path.name for path in tmp_path.iterdir()) == known
