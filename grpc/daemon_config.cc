#include "grpc/daemon_config.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <array>
#include <charconv>

// Its compiled library throws.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "base/file_util.h"
#include "vmm/config/parse.h"

namespace gemel::daemon {
namespace {

constexpr std::string_view kHelp =
    "usage: gemeld [--config FILE] [--state-dir DIR] [--run-dir DIR] [--node NAME] [--boot-dir "
    "DIR]\n"
    "              [--listen ADDRESS:PORT --pki-dir DIR] [--log-level debug|info|warning|error]\n"
    "              [--metrics-listen [ADDRESS:]PORT] [--cluster FILE]\n"
    "The API is at <run-dir>/api.sock, and with TLS at --listen. See docs/GEMELD.md.\n";

Result<LogLevel> ParseLevel(std::string_view word) {
  static constexpr std::array<std::pair<std::string_view, LogLevel>, 4> kLevels = {{
      {"debug", LogLevel::kDebug},
      {"info", LogLevel::kInfo},
      {"warning", LogLevel::kWarning},
      {"error", LogLevel::kError},
  }};
  for (const auto& [name, level] : kLevels) {
    if (name == word) return level;
  }
  return InvalidArgument("log_level: {}: one of debug, info, warning, error", word);
}

Result<mode_t> ParseMode(std::string_view word) {
  mode_t mode = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), mode, 8);
  if (error != std::errc() || end != word.data() + word.size() || mode > 0777)
    return InvalidArgument("socket.mode: {}: octal digits up to 0777", word);
  return mode;
}

Result<std::int64_t> ParseSeconds(std::string_view key, std::string_view word) {
  constexpr std::int64_t kMost = 3600;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), seconds);
  if (error != std::errc() || end != word.data() + word.size() || seconds < 1 || seconds > kMost)
    return InvalidArgument("{}: {}: seconds, from 1 to {}", key, word, kMost);
  return seconds;
}

// A port alone is one of this host's alone. The HTTP server's own syntax knows more, which is not
// offered: it has no access control.
Result<std::string> ParseListen(std::string_view key, std::string_view word) {
  const std::size_t colon = word.rfind(':');
  const std::string_view address = colon == word.npos ? "127.0.0.1" : word.substr(0, colon);
  const std::string_view digits = colon == word.npos ? word : word.substr(colon + 1);
  unsigned port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  const bool good = error == std::errc() && end == digits.data() + digits.size() &&
                    port <= 0xffff && !address.empty() &&
                    address.find_first_not_of("0123456789abcdefABCDEF.:[]") == address.npos;
  if (!good) return InvalidArgument("{}: {}: not ADDRESS:PORT, in numbers, or a port", key, word);
  return fmt::format("{}:{}", address, port);
}

// "iscsi_targets.san.portal": what of which target; null: that is no such key.
IscsiTarget* TargetOf(const std::string& key, std::string_view what, DaemonConfig& config) {
  constexpr std::string_view kPrefix = "iscsi_targets.";
  const std::string suffix = fmt::format(".{}", what);
  if (!key.starts_with(kPrefix) || !key.ends_with(suffix) ||
      key.size() <= kPrefix.size() + suffix.size())
    return nullptr;
  return &config.iscsi
              .targets[key.substr(kPrefix.size(), key.size() - kPrefix.size() - suffix.size())];
}

// "fence_agents.b.options.ip"
Status SetFenceText(const std::string& key, const std::string& value, DaemonConfig& config) {
  constexpr std::string_view kOption = "options.";
  const std::string rest = key.substr(key.find('.') + 1);
  const std::size_t dot = rest.find('.');
  if (dot == 0 || dot == std::string::npos) return InvalidArgument("{}: unknown", key);
  FenceAgent& agent = config.fence_agents[rest.substr(0, dot)];
  const std::string what = rest.substr(dot + 1);
  if (what == "agent")
    agent.agent = value;
  else if (what == "plug")
    agent.plug = value;
  else if (what == "secret_file")
    agent.secret_file = value;
  else if (what == "user")
    agent.user = value;
  else if (what == "timeout") {
    ASSIGN_OR_RETURN(agent.timeout_seconds, ParseSeconds(key, value));
  } else if (what.starts_with(kOption))
    agent.options[what.substr(kOption.size())] = value;
  else
    return InvalidArgument("{}: unknown", key);
  return {};
}

Status SetTargetText(const std::string& key, const std::string& value, DaemonConfig& config) {
  if (IscsiTarget* target = TargetOf(key, "portal", config))
    target->portal = value;
  else if (IscsiTarget* iqn = TargetOf(key, "iqn", config))
    iqn->iqn = value;
  else if (IscsiTarget* user = TargetOf(key, "chap_user", config))
    user->chap_user = value;
  else if (IscsiTarget* secret = TargetOf(key, "chap_secret_file", config))
    secret->chap_secret_file = value;
  else
    return InvalidArgument("{}: unknown", key);
  return {};
}

Status SetText(const std::string& key, const std::string& value, DaemonConfig& config) {
  if (key == "node")
    config.node = value;
  else if (key == "state_dir")
    config.state_dir = value;
  else if (key == "run_dir")
    config.run_dir = value;
  else if (key == "cgroup_parent")
    config.cgroup_parent = value;
  else if (key == "socket.group")
    config.socket_group = value;
  else if (key == "tls.listen")
    config.tls_listen = value;
  else if (key == "tls.pki_dir")
    config.pki_dir = value;
  else if (key == "iscsi_initiator")
    config.iscsi.initiator = value;
  else if (key == "socket.mode") {
    ASSIGN_OR_RETURN(config.socket_mode, ParseMode(value));
  } else if (key == "vhost") {
    if (value != "auto" && value != "off")
      return InvalidArgument("vhost: {}: not auto or off", value);
    config.vhost = value == "auto";
  } else if (key == "log_level") {
    ASSIGN_OR_RETURN(config.log_level, ParseLevel(value));
  } else if (key == "metrics.listen") {
    ASSIGN_OR_RETURN(config.metrics_listen, ParseListen(key, value));
  } else if (key == "heartbeat_seconds") {
    ASSIGN_OR_RETURN(config.heartbeat_seconds, ParseSeconds(key, value));
  } else if (key == "memory_capacity") {
    ASSIGN_OR_RETURN(config.memory_capacity, ParseSize("memory_capacity", value));
  } else if (key.starts_with("pools.") && key.ends_with(".path") && key.size() > 11) {
    config.pools[key.substr(6, key.size() - 11)] = value;
  } else if (key.starts_with("fence_agents.")) {
    return SetFenceText(key, value, config);
  } else {
    return SetTargetText(key, value, config);
  }
  return {};
}

Status SetList(const std::string& key, const toml::array& values, DaemonConfig& config) {
  std::vector<std::string> texts;
  for (const toml::node& node : values) {
    const auto text = node.value<std::string>();
    if (!text) return InvalidArgument("{}: a list of texts, and this is none", key);
    texts.push_back(*text);
  }
  if (key == "boot_dirs")
    config.boot_dirs = texts;
  else if (key == "block_devices")
    config.block_devices = texts;
  else if (key == "host_bridges")
    config.host_bridges = texts;
  else if (IscsiTarget* target = TargetOf(key, "projects", config))
    target->projects = std::move(texts);
  else
    return InvalidArgument("{}: unknown, or not a list", key);
  return {};
}

Status SetTable(const std::string& prefix, const toml::table& table, DaemonConfig& config) {
  for (const auto& [key, node] : table) {
    const std::string path = prefix + std::string(key.str());
    if (const auto* below = node.as_table()) {
      RETURN_IF_ERROR(SetTable(path + ".", *below, config));
    } else if (const auto* list = node.as_array()) {
      RETURN_IF_ERROR(SetList(path, *list, config));
    } else if (const auto text = node.value<std::string>()) {
      RETURN_IF_ERROR(SetText(path, *text, config));
    } else {
      return InvalidArgument("{}: not a text in quotes", path);
    }
  }
  return {};
}

Status SetWord(const std::string& word, const std::string& value, DaemonConfig& config) {
  if (word == "--boot-dir") {
    config.boot_dirs.push_back(value);
    return {};
  }
  static const std::map<std::string, std::string> kKeys = {
      {"--state-dir", "state_dir"},         {"--run-dir", "run_dir"},
      {"--cgroup-parent", "cgroup_parent"}, {"--node", "node"},
      {"--listen", "tls.listen"},           {"--pki-dir", "tls.pki_dir"},
      {"--log-level", "log_level"},         {"--metrics-listen", "metrics.listen"}};
  if (word == "--cluster") {
    config.cluster_file = value;
    return {};
  }
  const auto key = kKeys.find(word);
  if (key == kKeys.end()) return InvalidArgument("{}: unknown word; gemeld --help", word);
  return SetText(key->second, value, config);
}

}  // namespace

Status ParseDaemonConfig(std::string_view text, DaemonConfig& config) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return InvalidArgument("line {}: {}", parsed.error().source().begin.line,
                           parsed.error().description());
  }
  RETURN_IF_ERROR(SetTable("", parsed.table(), config));
  for (const auto& [node, agent] : config.fence_agents) RETURN_IF_ERROR(Validate(node, agent));
  return Validate(config.iscsi);
}

Result<DaemonConfig> ReadDaemonConfig(const std::vector<std::string>& words) {
  DaemonConfig config;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--help" || words[i] == "-h")
      return MakeError(Code::kCancelled, std::string(kHelp));
    if (words[i] == "--version") return MakeError(Code::kCancelled, "gemeld " GEMEL_VERSION "\n");
    if (i + 1 == words.size() || !words[i].starts_with("--"))
      return InvalidArgument("{}: not a word with a value; gemeld --help", words[i]);
    if (words[i++] != "--config") continue;
    ASSIGN_OR_RETURN(const std::string text, ReadTextFile(words[i]));
    if (const Status parsed = ParseDaemonConfig(text, config); !parsed)
      return WithContext(parsed.error(), words[i]);
  }
  for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
    if (words[i] != "--config") RETURN_IF_ERROR(SetWord(words[i], words[i + 1], config));
  }
  FillDaemonDefaults(config);
  return config;
}

void FillDaemonDefaults(DaemonConfig& config) {
  if (config.node.empty()) {
    char name[65] = "node";
    static_cast<void>(gethostname(name, sizeof(name) - 1));
    config.node = name;
  }
  if (config.iscsi.initiator.empty()) config.iscsi.initiator = DefaultInitiator(config.node);
  if (config.boot_dirs.empty()) config.boot_dirs = {config.state_dir + "/boot"};
  if (config.pools.empty()) config.pools = {{"default", config.state_dir + "/disks/default"}};
  if (config.memory_capacity > 0) return;
  struct sysinfo info{};
  constexpr std::uint64_t kForTheHost = 512ull << 20;
  if (sysinfo(&info) == 0) {
    const std::uint64_t all = static_cast<std::uint64_t>(info.totalram) * info.mem_unit;
    config.memory_capacity = all > 2 * kForTheHost ? all - kForTheHost : all / 2;
  }
}

}  // namespace gemel::daemon
