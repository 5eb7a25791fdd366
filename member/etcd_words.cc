#include "member/etcd_words.h"

namespace gemel::member {
namespace {

// etcd wants to see a port, and takes it for a part of the name.
constexpr std::string_view kMetricsName = "etcd-metrics:0";

}  // namespace

std::string HostPort(const std::string& address, std::uint16_t port) {
  const bool v6 = address.find(':') != std::string::npos;
  return v6 ? fmt::format("[{}]:{}", address, port) : fmt::format("{}:{}", address, port);
}

std::string EndpointOf(const std::string& url) {
  constexpr std::string_view kScheme = "https://";
  return url.starts_with(kScheme) ? url.substr(kScheme.size()) : url;
}

std::string ClientUrl(const cluster::ClusterConfig& config) {
  return "https://" + HostPort(config.member.address, config.member.client_port);
}

std::string PeerUrl(const cluster::ClusterConfig& config) {
  return "https://" + HostPort(config.member.address, config.member.peer_port);
}

std::string EtcdFolder(const cluster::ClusterConfig& config) { return config.state_dir + "/etcd"; }

std::string MetricsSocket(const cluster::ClusterConfig& config) {
  return fmt::format("{}/{}", config.run_dir, kMetricsName);
}

std::string RestoreFile(const cluster::ClusterConfig& config) {
  return config.state_dir + "/restore.backup";
}

std::string RevocationFile(const cluster::ClusterConfig& config) {
  return config.ca.substr(0, config.ca.rfind('/') + 1) + "crl.pem";
}

std::vector<std::string> EtcdWords(const cluster::ClusterConfig& config, bool revocations) {
  const std::string& own = config.member.certificate;
  std::vector<std::string> words = {
      "etcd", "--name", config.name, "--data-dir", EtcdFolder(config), "--listen-client-urls",
      ClientUrl(config), "--advertise-client-urls", ClientUrl(config), "--listen-peer-urls",
      PeerUrl(config), "--initial-advertise-peer-urls", PeerUrl(config),
      // Certificate and key are one file, read anew for each connection: a renewal is one rename.
      "--cert-file", own, "--key-file", own, "--trusted-ca-file", config.ca, "--client-cert-auth",
      "--peer-cert-file", own, "--peer-key-file", own, "--peer-trusted-ca-file", config.ca,
      "--peer-client-cert-auth",
      // A machine of several addresses may connect from another one than it listens on.
      "--experimental-peer-skip-client-san-verification",
      // An election takes about a second; a member that comes back disturbs nobody.
      "--heartbeat-interval", "100", "--election-timeout", "500", "--pre-vote=true",
      // Heartbeats of sessions are a few revisions a second. The log is kept in memory between
      // snapshots: with etcd's 100,000 it would be more than all else.
      "--snapshot-count", "5000", "--auto-compaction-mode", "periodic",
      "--auto-compaction-retention", "10m", "--quota-backend-bytes", fmt::format("{}", kQuotaBytes),
      "--listen-metrics-urls", fmt::format("unix://{}", kMetricsName),
      "--enable-grpc-gateway=false", "--logger", "zap", "--log-level", "warn", "--log-outputs",
      "stderr"};
  if (revocations) {  // read anew for each connection, too
    const std::string list = RevocationFile(config);
    words.insert(words.end(), {"--client-crl-file", list, "--peer-crl-file", list});
  }
  if (config.member.initial_state.empty()) return words;  // it has its data
  words.insert(words.end(),
               {"--initial-cluster", config.member.initial_cluster, "--initial-cluster-state",
                config.member.initial_state == "existing" ? "existing" : "new",
                "--initial-cluster-token", config.member.initial_token});
  return words;
}

}  // namespace gemel::member
