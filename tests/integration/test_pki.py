"""gemel pki as a person and as OpenSSL see it."""

import json
import os
import pathlib
import subprocess

import pytest

BUILD = pathlib.Path(os.environ.get("GEMEL_BUILD") or
                     pathlib.Path(__file__).resolve().parents[2] / "build/release")


def gemel(*words, status=0):
    done = subprocess.run([BUILD / "cli/gemel", *map(str, words)], capture_output=True, text=True,
                          check=False, timeout=60)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done


def verify(folder, certificate, *words):
    """Whether OpenSSL takes the certificate, the revocation list considered."""
    return subprocess.run(
        ["openssl", "verify", "-crl_check", "-CAfile", folder / "ca.pem",
         "-CRLfile", folder / "crl.pem", *words, certificate],
        capture_output=True, text=True, check=False)


@pytest.fixture(name="folder")
def authority(tmp_path):
    folder = tmp_path / "pki"
    gemel("pki", "init", "--dir", folder, "--address", "192.0.2.7")
    return folder


def test_init_makes_what_openssl_takes(folder):
    server, client = folder / "server/cert.pem", folder / "issued/admin/cert.pem"
    assert verify(folder, server, "-purpose", "sslserver", "-verify_ip", "192.0.2.7").returncode == 0
    assert verify(folder, client, "-purpose", "sslclient").returncode == 0


def test_purposes_are_kept_apart(folder):
    assert verify(folder, folder / "server/cert.pem", "-purpose", "sslclient").returncode != 0
    assert verify(folder, folder / "issued/admin/cert.pem", "-purpose", "sslserver").returncode != 0


def test_server_has_no_other_name(folder):
    done = verify(folder, folder / "server/cert.pem", "-verify_hostname", "elsewhere.example.org")
    assert "hostname mismatch" in done.stderr.lower()


def test_revoked_is_what_openssl_refuses(folder):
    gemel("pki", "issue", "alice", "--dir", folder)
    assert verify(folder, folder / "issued/alice/cert.pem").returncode == 0
    gemel("pki", "revoke", "alice", "--dir", folder)
    assert "certificate revoked" in verify(folder, folder / "issued/alice/cert.pem").stderr
    assert verify(folder, folder / "issued/admin/cert.pem").returncode == 0


def test_list_says_what_is_valid(folder):
    gemel("pki", "revoke", "admin", "--dir", folder)
    listed = {entry["name"]: entry
              for entry in json.loads(gemel("pki", "list", "-o", "json", "--dir", folder).stdout)}
    assert listed["admin"]["state"].startswith("revoked")
    assert sorted(entry["kind"] for entry in listed.values()) == ["client", "server"]


def test_keys_are_the_owners_alone(folder):
    wrong = [path for path in folder.rglob("*") if path.stat().st_mode & 0o077]
    assert not wrong


@pytest.mark.parametrize("words,says", [
    (("issue", "a/b"), "name: a/b"),
    (("issue", "admin"), "has a valid certificate until"),
    (("issue", "bob", "--days", "0"), "days: 0"),
    (("issue", "bob", "--address", "x"), "only a server has one"),
    (("revoke", "nobody"), "no certificate of that name"),
    (("init",), "is there already"),
])
def test_wrong_input_is_named(folder, words, says):
    done = gemel("pki", *words, "--dir", folder, status=2)
    assert done.stderr.startswith("error: ") and says in done.stderr, done.stderr


def test_unknown_verb_has_a_suggestion():
    assert "did you mean pki issue?" in gemel("pki", "isue", status=2).stderr
