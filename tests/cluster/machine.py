"""A machine for forming clusters: folders and an address of its own, and a systemctl that starts
programs."""

import http.client
import itertools
import os
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import time

import keeper
import members

BUILD = keeper.BUILD
PROGRAMS = {"gemel-member": BUILD / "member/gemel-member", "gemel-witness": BUILD / "member/gemel-witness",
            "gemel-keeper": BUILD / "keeper/gemel-keeper"}
SYSTEMCTL = f"""#!/bin/bash
# enable --now UNIT, disable --now UNIT, try-restart UNIT
name=${{!#}}; name=${{name%.service}}; home=$GEMEL_TEST_HOME
echo "$*" >> "$home/systemctl.log"
case "$1 $name" in
{"".join(f'''  "enable {name}") program={path} ;;
''' for name, path in PROGRAMS.items())}
  disable*)
    pid=$(cat "$home/$name.pid" 2>/dev/null) || exit 0
    kill "$pid" 2>/dev/null
    while [ -d "/proc/$pid" ] && ! grep -q ') Z ' "/proc/$pid/stat" 2>/dev/null; do sleep 0.02; done
    rm -f "$home/$name.pid"; exit 0 ;;
  *) exit 0 ;;
esac
mkdir -p "$home/run"
setsid "$program" --config "$home/etc/cluster.toml" </dev/null >>"$home/$name.log" 2>&1 &
echo $! > "$home/$name.pid"
"""


_numbers = itertools.count(121)


def address():
    """Of this machine and process alone, in 127/8: whoever had it before may still be ending."""
    pid = os.getpid()
    return f"127.{next(_numbers)}.{pid >> 8 & 255}.{pid & 255}"


class Machine:
    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder) / name
        self.name = name
        self.address = address()
        self.config = self.folder / "etc/cluster.toml"
        (self.folder / "etc").mkdir(parents=True)
        (self.folder / "machine-id").write_text(f"{name}\n", encoding="utf-8")
        self.systemctl = self.folder / "systemctl"
        self.systemctl.write_text(SYSTEMCTL, encoding="utf-8")
        self.systemctl.chmod(0o755)

    def environment(self, **more):
        return {**os.environ, "GEMEL_SYSTEMCTL": str(self.systemctl),
                "GEMEL_TEST_HOME": str(self.folder),
                "GEMEL_MACHINE_ID": str(self.folder / "machine-id"), **more}

    def cluster(self, *words, **environment):
        """gemel cluster WORDS: (status, output, errors)."""
        done = subprocess.run(
            [BUILD / "cli/client/gemel-client", "cluster", *words, "--config", self.config],
            env=self.environment(**environment), capture_output=True, text=True, timeout=150)
        return done.returncode, done.stdout, done.stderr

    def do(self, *words):
        status, output, errors = self.cluster(*words)
        assert status == 0, f"{words}: {errors}\n{self.log()}"
        return output

    def refused(self, *words, **environment):
        """What it says against it; nothing was left behind."""
        before = self.files()
        status, output, errors = self.cluster(*words, **environment)
        assert status not in (0, -signal.SIGSEGV), output
        assert self.files() == before
        return errors

    def files(self):
        return sorted(str(path) for place in ("etc", "state") for path in
                      (self.folder / place).glob("cluster*/*.pem")) + [self.config.exists()]

    def place(self, address=None, name=None, etcd=None):
        return ("--address", address or self.address, "--name", name or self.name,
                "--etcd", etcd or members.ETCD, "--state-dir", self.folder / "state",
                "--run-dir", self.folder / "run")

    def init(self, name="rack7"):
        return self.do("init", name, *self.place())

    def invite(self, *words):
        return self.do("invite", *words).strip()

    def join(self, token):
        return self.do("join", token, *self.place())

    def witness(self, token):
        return self.do("witness", token, *self.place())

    def members(self):
        """{name: (role, state)} as this machine sees it."""
        lines = self.do("members").split("\n\n")[0].splitlines()[1:]
        rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
        return {row[0]: (row[1], row[2]) for row in rows}

    def until(self, wanted, what=None):
        """Waits until what() (the members that it sees) is as wanted; what was found."""
        end = time.monotonic() + keeper.PATIENCE
        while not wanted(found := (what or self.members)()):
            assert time.monotonic() < end, f"{found}\n{self.log()}"
            time.sleep(0.1)
        return found

    def log(self):
        return "\n".join(f"{path}:\n{path.read_text(encoding='utf-8', errors='replace')[-3000:]}"
                         for path in self.folder.glob("*.log"))

    def pid(self, name):
        return int((self.folder / f"{name}.pid").read_text(encoding="utf-8"))

    def again(self, unit, **environment):
        """Ends that program and starts it anew."""
        for verb in ("disable", "enable"):
            subprocess.run([self.systemctl, verb, "--now", f"{unit}.service"],
                           env=self.environment(**environment), check=True)

    def certificate(self, name="member"):
        """Its serial number and its end, of etc/cluster/NAME.pem."""
        done = subprocess.run(["openssl", "x509", "-noout", "-serial", "-enddate", "-in",
                               self.folder / f"etc/cluster/{name}.pem"],
                              capture_output=True, text=True, check=True)
        return tuple(line.split("=")[1] for line in done.stdout.splitlines())

    def lets_in(self, folder):
        """Whether etcd here answers to the certificate in that folder."""
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        context.load_cert_chain(folder / "node.pem")
        connection = http.client.HTTPSConnection(self.address, 2379, timeout=5, context=context)
        try:
            connection.request("GET", "/version")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def etcd_pid(self):
        return int((self.folder / "state/etcd.pid").read_text(encoding="utf-8"))

    def settings(self):
        return self.config.read_text(encoding="utf-8")

    def lose_power(self):
        pids = [int(path.read_text(encoding="utf-8")) for path in self.folder.glob("*.pid")]
        if (self.folder / "state/etcd.pid").exists():
            pids.append(self.etcd_pid())
        for pid in pids:
            kill(pid, signal.SIGKILL)

    def close(self):
        self.lose_power()
        shutil.rmtree(self.folder, ignore_errors=True)


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
