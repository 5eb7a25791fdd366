#include "member/forming.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/clock.h"
#include "base/file_util.h"
#include "member/backup.h"
#include "member/credentials.h"
#include "member/etcd_words.h"
#include "member/join_client.h"
#include "member/machine.h"
#include "member/record.h"
#include "member/services.h"
#include "member/shared_config.h"
#include "member/token.h"
#include "pki/secret.h"

namespace gemel::member {
namespace {

namespace wire = internal::member;
namespace fs = std::filesystem;

constexpr std::uint32_t kProtocol = 1;
constexpr int kSamples = 12;
constexpr std::int64_t kPatienceMs = 60'000;
constexpr int kLookMs = 200;

// Tests of what fails need not wait for it.
std::int64_t PatienceMs() {
  const char* const forced = std::getenv("GEMEL_FORMING_PATIENCE_MS");
  return forced == nullptr ? kPatienceMs : std::strtoll(forced, nullptr, 10);
}

std::int64_t Seconds() { return ClockNs(CLOCK_REALTIME) / 1'000'000'000; }

// Beside the file: /etc/gemel/cluster for /etc/gemel/cluster.toml.
std::string SecretsFolder(const std::string& config_path) {
  return config_path.ends_with(".toml") ? config_path.substr(0, config_path.size() - 5)
                                        : config_path + ".d";
}

// An address of this machine with nobody at that port.
Status CheckFree(const std::string& address, std::uint16_t port) {
  sockaddr_storage place{};
  socklen_t size = sizeof(sockaddr_in);
  // SAFETY: the kernel's address types are made to be cast so; the storage is large enough for both.
  auto* const v4 = reinterpret_cast<sockaddr_in*>(&place);
  auto* const v6 = reinterpret_cast<sockaddr_in6*>(&place);
  if (inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
  } else if (inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    size = sizeof(sockaddr_in6);
  } else {
    return InvalidArgument("address: {}: an IP address of this machine, no name", address);
  }
  const UniqueFd fd(socket(place.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return ErrnoError(errno, "socket");
  const int on = 1;
  static_cast<void>(setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
  // SAFETY: as above.
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&place), size) == 0) return {};
  if (errno == EADDRNOTAVAIL)
    return InvalidArgument("address: {}: not an address of this machine", address);
  if (errno != EADDRINUSE) return ErrnoError(errno, HostPort(address, port));
  return FailedPrecondition(
      "{}: a program listens there already: Debian's own etcd is stopped by systemctl disable "
      "--now "
      "etcd; or choose another port",
      HostPort(address, port));
}

Status CheckMachine(const FormingOptions& options) {
  const cluster::ClusterConfig& wanted = options.wanted;
  std::error_code error;
  if (fs::exists(options.config_path, error)) {
    const auto there = cluster::ReadClusterConfig(options.config_path);
    return MakeError(Code::kAlreadyExists,
                     fmt::format("{}: this machine is in cluster {} already; gemel cluster leave "
                                 "takes it out",
                                 options.config_path, there ? there->cluster : "?"));
  }
  const std::string etcd_folder = EtcdFolder(wanted);
  if (fs::exists(etcd_folder, error)) {
    return FailedPrecondition(
        "{}: etcd's data of an earlier cluster: move it away, or remove it if nobody needs it",
        etcd_folder);
  }
  RETURN_IF_ERROR(cluster::CheckName("name", wanted.name));
  if (access(wanted.member.etcd.c_str(), X_OK) != 0) {
    return MakeError(
        Code::kNotFound,
        fmt::format("{}: there is no etcd: apt install etcd-server, and systemctl disable "
                    "--now etcd",
                    wanted.member.etcd));
  }
  RETURN_IF_ERROR(CheckFree(wanted.member.address, wanted.member.client_port));
  RETURN_IF_ERROR(CheckFree(wanted.member.address, wanted.member.peer_port));
  if (wanted.role == cluster::Role::kNode) {
    RETURN_IF_ERROR(CheckFree(wanted.member.address, wanted.member.join_port));
    RETURN_IF_ERROR(CheckFree(wanted.member.address, wanted.member.api_port));
  }
  return {};
}

Status MakeFolders(const std::string& path) {
  std::error_code error;
  fs::create_directories(fs::path(path).parent_path(), error);
  if (error) return ErrnoError(error.value(), path);
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return ErrnoError(errno, path);
}

struct Secrets {
  std::string authority;
  std::string authority_key;  // a node's
  Credentials own;
  std::string revocation_list;  // empty: there is none yet
};

// All files, the one that others look for last.
Status WriteFiles(const FormingOptions& options, cluster::ClusterConfig& config,
                  const Secrets& secrets) {
  const std::string folder = SecretsFolder(options.config_path);
  RETURN_IF_ERROR(MakeFolders(folder));
  RETURN_IF_ERROR(MakeFolders(config.state_dir));
  if (chmod(folder.c_str(), 0700) != 0) return ErrnoError(errno, folder);
  config.ca = folder + "/ca.pem";
  config.certificate = config.key = folder + "/node.pem";
  config.member.certificate = folder + "/member.pem";
  RETURN_IF_ERROR(ReplaceFile(config.ca, secrets.authority));
  RETURN_IF_ERROR(ReplaceFile(config.certificate, secrets.own.node_pem));
  RETURN_IF_ERROR(ReplaceFile(config.member.certificate, secrets.own.member_pem));
  if (!secrets.revocation_list.empty())
    RETURN_IF_ERROR(ReplaceFile(RevocationFile(config), secrets.revocation_list));
  config.member.authority_key.clear();
  if (!secrets.authority_key.empty()) {
    config.member.authority_key = folder + "/ca-key.pem";
    RETURN_IF_ERROR(ReplaceFile(config.member.authority_key, secrets.authority_key));
  }
  return ReplaceFile(options.config_path, cluster::FormatClusterConfig(config));
}

void RemoveFiles(const FormingOptions& options) {
  std::error_code error;
  fs::remove(options.config_path, error);
  fs::remove_all(SecretsFolder(options.config_path), error);
  fs::remove_all(EtcdFolder(options.wanted), error);
  fs::remove(EtcdFolder(options.wanted) + ".pid", error);
}

// Until gemel-member here has a vote.
Status WaitForVote(const std::string& run_dir) {
  const std::int64_t patience = PatienceMs();
  const std::int64_t end = MonotonicMs() + patience;
  std::string trouble = "gemel-member does not answer";
  while (MonotonicMs() < end) {
    const auto status = AskStatus(run_dir);
    if (status && status->healthy()) return {};
    if (status && !status->trouble().empty()) trouble = status->trouble();
    poll(nullptr, 0, kLookMs);
  }
  return MakeError(Code::kDeadlineExceeded,
                   fmt::format("no vote after {} s: {}", patience / 1000, trouble));
}

// At once without systemd, when somebody else starts it.
Status StartAndWait(const FormingOptions& options) {
  if (Systemctl().empty()) return {};
  options.progress("starting gemel-member");
  RETURN_IF_ERROR(StartServices(options.wanted.role));
  return WaitForVote(options.wanted.run_dir);
}

// After an error: as before.
Status OrUndo(Status done, const FormingOptions& options) {
  if (done) return done;
  static_cast<void>(StopServices(options.wanted.role));
  RemoveFiles(options);
  return done;
}

Status CheckMeasured(const std::vector<ClockSample>& samples, const FormingOptions& options) {
  RETURN_IF_ERROR(CheckRates(samples));
  const std::int64_t round_trip = RoundTripNs(samples);
  if (round_trip <= kMostRoundTripNs) return {};
  const std::string said = fmt::format("round trip {} ms, more than {} ms", round_trip / 1'000'000,
                                       kMostRoundTripNs / 1'000'000);
  if (options.wanted.role == cluster::Role::kNode) {
    return FailedPrecondition(
        "{}: too far for a node: heartbeats and disks need a network nearer than that", said);
  }
  options.progress(
      fmt::format("warning: {}: the witness is far; take-overs are slower when it is "
                  "needed for the majority",
                  said));
  return {};
}

wire::JoinRequest RequestOf(const FormingOptions& options) {
  const cluster::ClusterConfig& wanted = options.wanted;
  wire::JoinRequest request;
  request.set_protocol(kProtocol);
  request.set_version(GEMEL_VERSION);
  request.set_role(wanted.role == cluster::Role::kNode ? wire::ROLE_NODE : wire::ROLE_WITNESS);
  request.set_name(wanted.name);
  request.set_address(wanted.member.address);
  request.set_client_port(wanted.member.client_port);
  request.set_peer_port(wanted.member.peer_port);
  request.set_join_port(wanted.member.join_port);
  request.set_machine(MachineDigest());
  request.set_level(kFeatureLevel);
  for (const std::string& vm : options.vms) request.add_vms(vm);
  return request;
}

// From here on the cluster knows of us.
Status BecomeMember(const wire::JoinResponse& answer, const FormingOptions& options) {
  cluster::ClusterConfig config = options.wanted;
  config.cluster = answer.cluster();
  config.node = answer.node();
  config.endpoints.assign(answer.endpoints().begin(), answer.endpoints().end());
  const bool votes = !answer.initial_cluster().empty();
  if (votes)
    config.endpoints.insert(config.endpoints.begin(),
                            HostPort(config.member.address, config.member.client_port));
  else
    options.progress("others have all votes: this node runs no etcd");
  config.member.initial_cluster = answer.initial_cluster();
  config.member.initial_token = answer.initial_token();
  config.member.initial_state = votes ? "existing" : kClientState;
  RETURN_IF_ERROR(WriteFiles(options, config,
                             {answer.authority(),
                              answer.authority_key(),
                              {answer.member_pem(), answer.node_pem()},
                              answer.revocation_list()}));
  return StartAndWait(options);
}

// The highest incarnation that this node's keeper has seen (keeper/memory_file.h), or 0.
std::uint64_t SeenIncarnation(const cluster::ClusterConfig& config) {
  constexpr std::string_view kWord = "incarnation ";
  const Result<std::string> text = ReadTextFile(config.state_dir + "/memory");
  std::uint64_t seen = 0;
  if (text && text->starts_with(kWord))
    std::from_chars(text->c_str() + kWord.size(), text->c_str() + text->size(), seen);
  return seen;
}

Status CheckNobodyElse(const cluster::ClusterConfig& config) {
  ASSIGN_OR_RETURN(const std::unique_ptr<etcd::Admin> admin, ConnectToEtcd(config));
  for (std::size_t i = 1; i < config.endpoints.size(); ++i) {
    if (!admin->StatusOf(config.endpoints[i])) continue;
    return FailedPrecondition(
        "{} answers: the others would go on as the old cluster. End their gemel-member for good "
        "first, or say --force",
        config.endpoints[i]);
  }
  return {};
}

}  // namespace

Status InitCluster(const FormingOptions& options) {
  RETURN_IF_ERROR(cluster::CheckName("cluster", options.wanted.cluster));
  RETURN_IF_ERROR(CheckMachine(options));
  cluster::ClusterConfig config = options.wanted;
  config.role = cluster::Role::kNode;
  config.node = 1;
  config.endpoints = {HostPort(config.member.address, config.member.client_port)};
  config.member.initial_cluster = fmt::format("{}={}", config.name, PeerUrl(config));
  config.member.initial_state = "new";
  ASSIGN_OR_RETURN(const std::string random, pki::RandomBytes(8));
  config.member.initial_token = config.cluster + "-";
  for (const char c : random)
    config.member.initial_token += fmt::format("{:02x}", static_cast<std::uint8_t>(c));
  options.progress("making an authority and certificates");
  ASSIGN_OR_RETURN(const auto authority, MakeClusterAuthority(config.cluster, Seconds()));
  ASSIGN_OR_RETURN(
      const Credentials own,
      IssueCredentials(config.name, config.member.address, config.role, authority.certificate_pem,
                       authority.key_pem, Seconds(), CertificateSeconds()));
  ASSIGN_OR_RETURN(
      const std::string revoked,
      MakeClusterRevocationList({}, authority.certificate_pem, authority.key_pem, Seconds()));
  RETURN_IF_ERROR(OrUndo(
      WriteFiles(options, config, {authority.certificate_pem, authority.key_pem, own, revoked}),
      options));
  return OrUndo(StartAndWait(options), options);
}

Status JoinCluster(const std::string& text, const FormingOptions& options) {
  ASSIGN_OR_RETURN(const Token token, DecodeToken(text));
  if (token.role != options.wanted.role) {
    return InvalidArgument("token: it is for a {}: gemel cluster {}",
                           token.role == cluster::Role::kNode ? "node" : "witness",
                           token.role == cluster::Role::kNode ? "join" : "witness");
  }
  RETURN_IF_ERROR(CheckMachine(options));
  ASSIGN_OR_RETURN(const std::unique_ptr<JoinClient> client, ConnectToJoin(token));
  options.progress("measuring clocks and round trips");
  ASSIGN_OR_RETURN(const std::vector<ClockSample> samples, client->Measure(kSamples));
  RETURN_IF_ERROR(CheckMeasured(samples, options));
  ASSIGN_OR_RETURN(const wire::JoinResponse answer, client->Join(RequestOf(options)));
  Status done = OrUndo(BecomeMember(answer, options), options);
  if (done) return done;
  if (const Status abandoned = client->Abandon(); !abandoned) {
    options.progress(
        fmt::format("warning: the cluster still knows of {}: {}; there: gemel cluster "
                    "replace {}",
                    options.wanted.name, abandoned.error().message, options.wanted.name));
  }
  return done;
}

Status LeaveCluster(const std::string& config_path, bool destroy, bool force) {
  ASSIGN_OR_RETURN(const cluster::ClusterConfig config, cluster::ReadClusterConfig(config_path));
  if (!destroy) RETURN_IF_ERROR(AskRemove(config.run_dir, config.name, force));
  static_cast<void>(StopServices(config.role));
  const std::string data = EtcdFolder(config);
  const std::string kept = fmt::format("{}.left-{}", data, Seconds());
  std::error_code error;
  fs::remove(config_path, error);
  fs::remove_all(SecretsFolder(config_path), error);
  fs::remove(data + ".pid", error);
  fs::rename(data, kept, error);
  return {};
}

Status BackupCluster(const std::string& config_path, const std::string& file) {
  ASSIGN_OR_RETURN(const cluster::ClusterConfig config, cluster::ReadClusterConfig(config_path));
  ASSIGN_OR_RETURN(const std::unique_ptr<etcd::Admin> admin, ConnectToEtcd(config));
  ASSIGN_OR_RETURN(const Backup backup, TakeBackup(*admin, config.cluster, Seconds()));
  std::error_code error;
  if (fs::exists(file, error))
    return MakeError(Code::kAlreadyExists, fmt::format("{}: is there already", file));
  RETURN_IF_ERROR(ReplaceFile(file, EncodeBackup(backup)));
  etcd::KvTxn txn;
  txn.puts = {{std::string(kBackupKey), fmt::format("{}", backup.time)}};
  static_cast<void>(admin->Commit(txn));  // for people alone
  return {};
}

Status RestoreCluster(const std::string& config_path, const std::string& file, std::uint64_t above,
                      bool force) {
  ASSIGN_OR_RETURN(cluster::ClusterConfig config, cluster::ReadClusterConfig(config_path));
  if (config.role != cluster::Role::kNode)
    return FailedPrecondition("this is the witness: restore on a node");
  ASSIGN_OR_RETURN(const std::string bytes, ReadTextFile(file, kMostBackup));
  Result<Backup> read = DecodeBackup(bytes);
  if (!read) return WithContext(std::move(read).error(), file);
  if (read->cluster != config.cluster)
    return FailedPrecondition("{}: of cluster {}, and this is {}", file, read->cluster,
                              config.cluster);
  if (!force) RETURN_IF_ERROR(CheckNobodyElse(config));
  read->incarnation = std::max({read->incarnation, SeenIncarnation(config), above}) + 1;
  const bool systemd = !Systemctl().empty();
  if (systemd) RETURN_IF_ERROR(StopMember());
  if (!systemd && AskStatus(config.run_dir))
    return FailedPrecondition("gemel-member runs: end it first");
  const std::string data = EtcdFolder(config);
  std::error_code error;
  fs::rename(data, fmt::format("{}.before-restore-{}", data, Seconds()), error);
  if (fs::exists(data, error)) return FailedPrecondition("{}: cannot be moved away", data);
  RETURN_IF_ERROR(ReplaceFile(RestoreFile(config), EncodeBackup(*read)));
  config.member.initial_cluster = fmt::format("{}={}", config.name, PeerUrl(config));
  config.member.initial_state = kRestoredState;
  config.member.initial_token += "+";
  config.endpoints.resize(1);
  RETURN_IF_ERROR(ReplaceFile(config_path, cluster::FormatClusterConfig(config)));
  if (!systemd) return {};
  RETURN_IF_ERROR(StartMember());
  return WaitForVote(config.run_dir);
}

}  // namespace gemel::member
