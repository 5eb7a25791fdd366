"""An authority and one certificate for everybody, for TLS between a node and etcd."""

import subprocess


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def make(folder, addresses):
    """ca.pem, cert.pem (for these addresses) and key.pem in a new folder."""
    folder.mkdir()
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2")
    openssl("req", "-x509", *new_key, "-subj", "/CN=test authority", "-keyout", folder / "ca.key",
            "-out", folder / "ca.pem")
    names = ",".join(f"IP:{address}" for address in addresses)
    openssl("req", "-x509", *new_key, "-subj", "/CN=node", "-CA", folder / "ca.pem",
            "-CAkey", folder / "ca.key", "-addext", f"subjectAltName={names}",
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-keyout", folder / "key.pem", "-out", folder / "cert.pem")
    return folder
