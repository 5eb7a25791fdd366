"""Who gets in, and who may do what: certificates, roles, quotas, the audit log."""

import json
import pathlib
import re
import socket
import ssl
import subprocess

import grpc
import pytest

import gemeld as gemeld_of
from conftest import needs_kvm


def pki(*words):
    done = subprocess.run([gemeld_of.BUILD / "cli/gemel", "pki", *map(str, words)], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 0, (words, done.stderr)


class Remote:
    """A gemeld with TLS, and clients of it that hold a certificate."""

    def __init__(self, folder):
        self.pki = pathlib.Path(folder) / "pki"
        pki("init", "--dir", self.pki, "--address", "127.0.0.1")
        pki("issue", "alice", "--dir", self.pki)
        self.daemon = gemeld_of.Gemeld(folder, "--listen", "127.0.0.1:0", "--pki-dir", self.pki)
        self.daemon.start()
        self.port = int(re.search(r"TLS on port (\d+)", self.daemon.log()).group(1))
        self.channels = []

    def channel(self, holder="alice", authority=None, name=None):
        folder = pathlib.Path(holder) if "/" in str(holder) else self.pki / "issued" / holder
        credentials = grpc.ssl_channel_credentials(
            (authority or self.pki / "ca.pem").read_bytes(), (folder / "key.pem").read_bytes(),
            (folder / "cert.pem").read_bytes())
        options = [("grpc.use_local_subchannel_pool", 1)]
        if name:
            options.append(("grpc.ssl_target_name_override", name))
        channel = grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, options)
        self.channels.append(channel)
        return channel

    def close(self):
        for channel in self.channels:
            channel.close()
        self.daemon.close()


@pytest.fixture(name="remote")
def remote_daemon(tmp_path):
    remote = Remote(tmp_path)
    yield remote
    remote.close()


def access(channel):
    return gemeld_of.module("gemel.v1.access_pb2_grpc").AccessStub(channel)


def messages():
    return gemeld_of.v1("access")


def whoami(channel):
    return access(channel).WhoAmI(messages().WhoAmIRequest(), timeout=30).caller


def code_of(call, *arguments):
    with pytest.raises(grpc.RpcError) as error:
        call(*arguments)
    return error.value.code()


def grant(remote, role, member, resource):
    return access(remote.daemon.channel).CreateBinding(messages().CreateBindingRequest(
        binding=messages().Binding(role=f"ROLE_{role}", member=member, resource=resource)))


def list_vms(channel, parent="projects/p"):
    stub = gemeld_of.module("gemel.v1.virtual_machines_pb2_grpc").VirtualMachinesStub(channel)
    return stub.List(gemeld_of.v1("virtual_machines").ListVirtualMachinesRequest(parent=parent),
                     timeout=30).virtual_machines


def test_socket_says_who_calls(remote):
    assert whoami(remote.daemon.channel) == "user:root"


def test_certificate_says_who_calls(remote):
    assert whoami(remote.channel()) == "cert:alice"


def test_another_authoritys_certificate_is_refused(remote, tmp_path):
    pki("init", "--dir", tmp_path / "other", "--client", "alice")
    channel = remote.channel(tmp_path / "other/issued/alice")
    assert code_of(whoami, channel) == grpc.StatusCode.UNAVAILABLE


def test_servers_certificate_is_no_clients(remote):
    assert code_of(whoami, remote.channel(remote.pki / "server")) == grpc.StatusCode.UNAVAILABLE


def test_server_of_another_name_is_refused_by_the_client(remote):
    assert code_of(whoami, remote.channel(name="elsewhere")) == grpc.StatusCode.UNAVAILABLE


def test_server_of_another_authority_is_refused_by_the_client(remote, tmp_path):
    pki("init", "--dir", tmp_path / "other")
    channel = remote.channel(authority=tmp_path / "other/ca.pem")
    assert code_of(whoami, channel) == grpc.StatusCode.UNAVAILABLE


def test_expired_certificate_is_refused(remote, tmp_path):
    folder = tmp_path / "late"
    folder.mkdir()

    def run(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, cwd=folder)
    run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
        "key.pem", "-subj", "/CN=late", "-out", "late.csr")
    (folder / "ext").write_text("extendedKeyUsage=clientAuth\n")
    (folder / "index").write_text("")
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\nnew_certs_dir={folder}\n"
        "default_md=sha256\npolicy=p\nrand_serial=yes\n[p]\ncommonName=supplied\n")
    run("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", remote.pki / "ca.pem", "-keyfile",
        remote.pki / "ca-key.pem", "-startdate", "20200101000000Z", "-enddate", "20200102000000Z",
        "-extfile", "ext", "-in", "late.csr", "-out", "cert.pem")
    assert code_of(whoami, remote.channel(folder)) == grpc.StatusCode.UNAVAILABLE


def test_revocation_counts_at_once_and_without_restart(remote):
    channel = remote.channel()
    assert whoami(channel) == "cert:alice"
    pki("revoke", "alice", "--dir", remote.pki)
    assert code_of(whoami, channel) == grpc.StatusCode.UNAUTHENTICATED
    assert code_of(whoami, remote.channel()) == grpc.StatusCode.UNAVAILABLE
    assert whoami(remote.channel("admin")) == "cert:admin"


def test_revocation_ends_a_stream_of_events(remote):
    grant(remote, "VIEWER", "cert:alice", "projects/p")
    stub = gemeld_of.module("gemel.v1.events_pb2_grpc").EventsStub(remote.channel())
    stream = stub.Watch(gemeld_of.v1("events").WatchRequest(parent="projects/p"), timeout=60)
    next(stream)  # the bookmark
    pki("revoke", "alice", "--dir", remote.pki)
    remote.daemon.create("web")
    with pytest.raises(grpc.RpcError) as error:
        next(stream)
    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_tls_below_1_3_is_refused(remote):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(remote.pki / "ca.pem")
    context.load_cert_chain(remote.pki / "issued/alice/cert.pem", remote.pki / "issued/alice/key.pem")
    context.set_alpn_protocols(["h2"])
    for version, taken in ((ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)):
        context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", remote.port), timeout=30) as raw:
            try:
                with context.wrap_socket(raw, server_hostname="127.0.0.1") as wrapped:
                    assert taken and wrapped.version() == "TLSv1.3"
            except ssl.SSLError:
                assert not taken


def test_plain_connection_is_refused(remote):
    channel = grpc.insecure_channel(f"127.0.0.1:{remote.port}")
    remote.channels.append(channel)
    assert code_of(whoami, channel) == grpc.StatusCode.UNAVAILABLE


def test_nothing_is_allowed_by_default(remote):
    channel = remote.channel()
    assert code_of(list_vms, channel) == grpc.StatusCode.PERMISSION_DENIED
    assert code_of(list_vms, channel, "projects/-") == grpc.StatusCode.PERMISSION_DENIED


def test_role_on_one_vm_shows_that_one_alone(remote):
    for name in ("web", "db"):
        remote.daemon.create(name)
    grant(remote, "VIEWER", "cert:alice", "projects/p/vms/web")
    assert [vm.name for vm in list_vms(remote.channel())] == ["projects/p/vms/web"]


def test_denial_does_not_tell_whether_it_exists(remote):
    remote.daemon.create("web")
    stub = gemeld_of.module("gemel.v1.virtual_machines_pb2_grpc").VirtualMachinesStub(
        remote.channel())
    request = gemeld_of.v1("virtual_machines").GetVirtualMachineRequest
    for name in ("web", "nothing"):
        assert code_of(stub.Get, request(name=f"projects/p/vms/{name}")) == \
            grpc.StatusCode.PERMISSION_DENIED


def test_viewer_may_not_start(remote):
    remote.daemon.create("web")
    grant(remote, "VIEWER", "cert:alice", "projects/p")
    stub = gemeld_of.module("gemel.v1.virtual_machines_pb2_grpc").VirtualMachinesStub(
        remote.channel())
    request = gemeld_of.v1("virtual_machines").StartVirtualMachineRequest(name="projects/p/vms/web")
    assert code_of(stub.Start, request) == grpc.StatusCode.PERMISSION_DENIED


def test_role_taken_back_counts_at_the_next_call(remote):
    binding = grant(remote, "VIEWER", "cert:alice", "projects/p")
    channel = remote.channel()
    assert list(list_vms(channel)) == []
    access(remote.daemon.channel).DeleteBinding(
        messages().DeleteBindingRequest(name=binding.name, etag=binding.etag))
    assert code_of(list_vms, channel) == grpc.StatusCode.PERMISSION_DENIED


def test_check_says_whether_the_caller_might(remote):
    grant(remote, "VIEWER", "cert:alice", "projects/p")
    stub = access(remote.channel())

    def check(permission, resource="projects/p/vms/web"):
        return stub.Check(messages().CheckAccessRequest(permission=permission, resource=resource))
    allowed = check("VirtualMachines.Get")
    assert allowed.allowed and allowed.message == "cert:alice is viewer of projects/p"
    denied = check("VirtualMachines.Start")
    assert not denied.allowed and "cert:alice" in denied.message
    assert not check("VirtualMachines.Get", "projects/q").allowed
    assert code_of(check, "VirtualMachines.Fly") == grpc.StatusCode.INVALID_ARGUMENT


def test_one_binding_is_got_by_its_name(remote):
    binding = grant(remote, "VIEWER", "cert:alice", "projects/p")
    stub = access(remote.daemon.channel)
    found = stub.GetBinding(messages().GetBindingRequest(name=binding.name))
    assert (found.member, found.resource) == ("cert:alice", "projects/p")
    stub.DeleteBinding(messages().DeleteBindingRequest(name=binding.name))
    request = messages().GetBindingRequest(name=binding.name)
    assert code_of(stub.GetBinding, request) == grpc.StatusCode.NOT_FOUND


def test_bindings_survive_the_daemon(remote):
    grant(remote, "VIEWER", "cert:alice", "projects/p")
    remote.daemon.kill()
    remote.daemon.start()
    bindings = access(remote.daemon.channel).ListBindings(messages().ListBindingsRequest()).bindings
    assert ("cert:alice", "projects/p") in {(one.member, one.resource) for one in bindings}


def test_admin_of_a_project_grants_within_it_alone(remote):
    grant(remote, "ADMIN", "cert:alice", "projects/p")
    stub = access(remote.channel())

    def create(resource):
        return stub.CreateBinding(messages().CreateBindingRequest(binding=messages().Binding(
            role="ROLE_VIEWER", member="cert:bob", resource=resource)))
    create("projects/p/vms/web")
    for resource in ("*", "projects/q"):
        assert code_of(create, resource) == grpc.StatusCode.PERMISSION_DENIED
    seen = {one.resource for one in stub.ListBindings(messages().ListBindingsRequest()).bindings}
    assert seen == {"projects/p", "projects/p/vms/web"}


@pytest.mark.parametrize("fields,field", [
    ({"role": 0, "member": "cert:a", "resource": "*"}, "binding.role"),
    ({"role": 9, "member": "cert:a", "resource": "*"}, "binding.role"),
    ({"role": 1, "member": "alice", "resource": "*"}, "binding.member"),
    ({"role": 1, "member": "cert:a b", "resource": "*"}, "binding.member"),
    ({"role": 1, "member": "cert:a", "resource": "web"}, "binding.resource"),
    ({"role": 1, "member": "cert:a", "resource": "projects/*"}, "binding.resource"),
])
def test_bad_binding_is_refused_by_field(remote, fields, field):
    with pytest.raises(grpc.RpcError) as error:
        access(remote.daemon.channel).CreateBinding(
            messages().CreateBindingRequest(binding=messages().Binding(**fields)))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert gemeld_of.fields_of(error.value) == [field]


def test_last_admin_cannot_be_taken_away(remote):
    stub = access(remote.daemon.channel)
    names = [one.name for one in stub.ListBindings(messages().ListBindingsRequest()).bindings]
    assert len(names) == 1
    request = messages().DeleteBindingRequest(name=names[0])
    assert code_of(stub.DeleteBinding, request) == grpc.StatusCode.FAILED_PRECONDITION


def test_quota_names_what_is_short(remote):
    quota = messages().Quota(name="projects/p/quota", limits=messages().QuotaAmounts(vms=1))
    access(remote.daemon.channel).UpdateQuota(messages().UpdateQuotaRequest(quota=quota))
    remote.daemon.create("web")
    with pytest.raises(grpc.RpcError) as error:
        remote.daemon.create("db")
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "vms: projects/p: 1 is more than what is left" in error.value.details()
    remote.daemon.create("db", project="q")
    shown = access(remote.daemon.channel).GetQuota(
        messages().GetQuotaRequest(name="projects/p/quota"))
    assert (shown.limits.vms, shown.usage.vms) == (1, 1)


def set_quota(remote, **limits):
    quota = messages().Quota(name="projects/p/quota", limits=messages().QuotaAmounts(**limits))
    access(remote.daemon.channel).UpdateQuota(messages().UpdateQuotaRequest(quota=quota))


def quota_of(remote):
    return access(remote.daemon.channel).GetQuota(messages().GetQuotaRequest(
        name="projects/p/quota"))


def exhausted(call, what):
    with pytest.raises(grpc.RpcError) as error:
        call()
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED, error.value
    assert gemeld_of.reason_of(error.value) == "QUOTA_EXCEEDED"
    assert f"{what}: projects/p" in error.value.details(), error.value.details()


@pytest.mark.parametrize("limits,what", [
    ({"running_vms": 1}, "running"), ({"cpus": 3}, "cpus"),
    ({"memory_bytes": 40 << 20}, "memory")])
@needs_kvm
def test_quota_counts_what_runs(remote, limits, what):
    """Defined machines do not count: the proto says so of all but vms."""
    daemon = remote.daemon
    set_quota(remote, **limits)
    spec = daemon.spec("idle", "")
    spec.cpu.count = 2
    for name in ("one", "two"):
        daemon.create(name, spec=spec)
    used = quota_of(remote).usage
    assert (used.vms, used.running_vms, used.cpus, used.memory_bytes) == (2, 0, 0, 0)
    daemon.well(daemon.do("Start", "projects/p/vms/one"))
    used = quota_of(remote).usage
    assert (used.vms, used.running_vms, used.cpus, used.memory_bytes) == (2, 1, 2, 32 << 20)
    exhausted(lambda: daemon.do("Start", "projects/p/vms/two"), what)
    exhausted(lambda: daemon.create("three", run=True, spec=spec), what)
    daemon.well(daemon.do("Stop", "projects/p/vms/one"))
    daemon.well(daemon.do("Start", "projects/p/vms/two"))


@needs_kvm
def test_quota_counts_what_a_running_machine_is_to_grow_by(remote):
    daemon = remote.daemon
    set_quota(remote, cpus=1)
    daemon.well(daemon.create(run=True, spec=daemon.spec("idle", "")))
    request = gemeld_of.v1("virtual_machines").UpdateVirtualMachineRequest(virtual_machine=daemon.get())
    request.virtual_machine.spec.cpu.count = 2
    request.update_mask.paths.append("spec")
    exhausted(lambda: daemon.vms.Update(request), "cpus")
    daemon.well(daemon.do("Stop"))
    request.virtual_machine.etag = ""
    daemon.well(daemon.vms.Update(request))
    exhausted(lambda: daemon.do("Start"), "cpus")


def test_quota_counts_sizes_of_disks(remote):
    daemon = remote.daemon
    disks = gemeld_of.v1("disks")
    set_quota(remote, disk_bytes=10 << 20)

    def create(disk_id, size):
        return daemon.disks.Create(disks.CreateDiskRequest(
            parent="projects/p", disk_id=disk_id, disk=disks.Disk(size_bytes=size)))
    daemon.well(create("one", 6 << 20))
    exhausted(lambda: create("two", 6 << 20), "disk")
    exhausted(lambda: daemon.disks.Upload(iter([disks.UploadDiskRequest(
        create=disks.CreateDiskRequest(parent="projects/p", disk_id="two",
                                       disk=disks.Disk(size_bytes=6 << 20)))])), "disk")
    request = disks.UpdateDiskRequest(disk=disks.Disk(name="projects/p/disks/one",
                                                      size_bytes=11 << 20))
    request.update_mask.paths.append("size_bytes")
    exhausted(lambda: daemon.disks.Update(request), "disk")
    request.disk.size_bytes = 10 << 20
    daemon.well(daemon.disks.Update(request))
    assert quota_of(remote).usage.disk_bytes == 10 << 20


def test_audit_log_has_changes_that_were_refused(remote):
    code_of(lambda: remote.daemon.create("web", request_id="x" * 100))
    code_of(lambda: remote.daemon.create("WEB"))
    lines = [json.loads(line)
             for line in (remote.daemon.state_dir / "audit.log").read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["INVALID_ARGUMENT"] * 2


def test_audit_log_has_changes_and_denials_and_no_reads(remote):
    remote.daemon.create("web", request_id="the-request")
    remote.daemon.get()
    code_of(list_vms, remote.channel())
    log = remote.daemon.state_dir / "audit.log"
    assert log.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    created, denied = lines
    assert (created["who"], created["from"], created["outcome"], created["request_id"]) == \
        ("user:root", "unix", "OK", "the-request")
    assert created["method"] == "/gemel.v1.VirtualMachines/Create"
    assert (denied["who"], denied["outcome"]) == ("cert:alice", "PERMISSION_DENIED")
    assert denied["from"].startswith("127.0.0.1:") and denied["resource"] == "projects/p"
