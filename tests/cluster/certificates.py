"""An authority and one certificate for everybody, for TLS between a node and etcd."""

import subprocess


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2")


def make(folder, addresses):
    """ca.pem, cert.pem (for these addresses) and key.pem in a new folder."""
    folder.mkdir()
    openssl("req", "-x509", *NEW_KEY, "-subj", "/CN=test authority", "-keyout", folder / "ca.key",
            "-out", folder / "ca.pem")
    sign(folder, folder, "node", addresses)
    return folder


def issue(authority, folder, name, addresses):
    """The same of the authority of another such folder, for `name`; member.pem is certificate and key."""
    folder.mkdir()
    (folder / "ca.pem").write_bytes((authority / "ca.pem").read_bytes())
    sign(authority, folder, name, addresses, f"URI:gemel:node:{name}")
    (folder / "member.pem").write_bytes(
        (folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return folder


def sign(authority, folder, name, addresses, *more):
    names = ",".join([*(f"IP:{address}" for address in addresses), *more])
    openssl("req", "-x509", *NEW_KEY, "-subj", f"/CN={name}", "-CA", authority / "ca.pem",
            "-CAkey", authority / "ca.key", "-addext", f"subjectAltName={names}",
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-keyout", folder / "key.pem", "-out", folder / "cert.pem")
