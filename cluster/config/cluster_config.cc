#include "cluster/config/cluster_config.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

// Its compiled library throws.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "base/file_util.h"
#include "base/json_text.h"

namespace gemel::cluster {
namespace {

constexpr std::size_t kMostNameBytes = 63;

constexpr std::array<std::pair<std::string_view, LogLevel>, 4> kLevels = {{
    {"debug", LogLevel::kDebug},
    {"info", LogLevel::kInfo},
    {"warning", LogLevel::kWarning},
    {"error", LogLevel::kError},
}};

Result<LogLevel> ParseLevel(std::string_view word) {
  for (const auto& [name, level] : kLevels)
    if (name == word) return level;
  return InvalidArgument("log_level: {}: one of debug, info, warning, error", word);
}

std::string_view LevelName(LogLevel wanted) {
  for (const auto& [name, level] : kLevels)
    if (level == wanted) return name;
  return "info";
}

struct TextKey {
  std::string_view key;
  std::string* place;
  bool path;
};

std::vector<TextKey> TextKeys(ClusterConfig& config) {
  MemberConfig& member = config.member;
  return {
      {"cluster", &config.cluster, false},
      {"name", &config.name, false},
      {"state_dir", &config.state_dir, true},
      {"run_dir", &config.run_dir, true},
      {"tls.ca", &config.ca, true},
      {"tls.certificate", &config.certificate, true},
      {"tls.key", &config.key, true},
      {"member.address", &member.address, false},
      {"member.certificate", &member.certificate, true},
      {"member.authority_key", &member.authority_key, true},
      {"member.etcd", &member.etcd, true},
      {"member.initial_cluster", &member.initial_cluster, false},
      {"member.initial_state", &member.initial_state, false},
      {"member.initial_token", &member.initial_token, false},
  };
}

struct PortKey {
  std::string_view key;
  std::uint16_t* place;
};

std::array<PortKey, 4> PortKeys(ClusterConfig& config) {
  return {{{"member.client_port", &config.member.client_port},
           {"member.peer_port", &config.member.peer_port},
           {"member.join_port", &config.member.join_port},
           {"member.api_port", &config.member.api_port}}};
}

Status SetText(std::string_view key, const std::string& value, ClusterConfig& config) {
  if (key == "role") {
    if (value != "node" && value != "witness")
      return InvalidArgument("role: {}: node or witness", value);
    config.role = value == "node" ? Role::kNode : Role::kWitness;
    return {};
  }
  for (const TextKey& one : TextKeys(config)) {
    if (one.key != key) continue;
    if (one.path && !value.starts_with('/'))
      return InvalidArgument("{}: {}: not an absolute path", key, value);
    if (key == "cluster" || key == "name") RETURN_IF_ERROR(CheckName(key, value));
    *one.place = value;
    return {};
  }
  if (key != "log_level") return InvalidArgument("{}: unknown, or not of this kind", key);
  ASSIGN_OR_RETURN(config.log_level, ParseLevel(value));
  return {};
}

Status SetEndpoints(std::string_view key, const toml::array& values, ClusterConfig& config) {
  if (key != "endpoints") return InvalidArgument("{}: unknown, or not a list", key);
  for (const toml::node& node : values) {
    const auto text = node.value_exact<std::string>();
    if (!text) return InvalidArgument("endpoints: a list of texts, and this is none");
    config.endpoints.push_back(*text);
  }
  return {};
}

Status SetNumber(std::string_view key, std::int64_t number, ClusterConfig& config) {
  if (key == "node") {
    if (number < 1 || number > kHighestNode)
      return InvalidArgument("node: {}: from 1 to {}", number, kHighestNode);
    config.node = static_cast<NodeId>(number);
    return {};
  }
  for (const PortKey& one : PortKeys(config)) {
    if (one.key != key) continue;
    if (number < 1 || number > std::numeric_limits<std::uint16_t>::max())
      return InvalidArgument("{}: {}: not a port", key, number);
    *one.place = static_cast<std::uint16_t>(number);
    return {};
  }
  return InvalidArgument("{}: unknown, or not of this kind", key);
}

Status SetOne(const std::string& key, const toml::node& node, ClusterConfig& config) {
  if (const auto* list = node.as_array()) return SetEndpoints(key, *list, config);
  if (const auto number = node.value_exact<std::int64_t>()) return SetNumber(key, *number, config);
  if (const auto text = node.value_exact<std::string>()) return SetText(key, *text, config);
  return InvalidArgument("{}: unknown, or not of this kind", key);
}

Status CheckWhole(const ClusterConfig& config) {
  if (config.role == Role::kNode && config.node == 0) return InvalidArgument("node: missing");
  if (config.role == Role::kWitness && config.node != 0)
    return InvalidArgument("node: {}: a witness has no number", config.node);
  if (config.endpoints.empty()) return InvalidArgument("endpoints: missing");
  const int said = (config.ca.empty() ? 0 : 1) + (config.certificate.empty() ? 0 : 1) +
                   (config.key.empty() ? 0 : 1);
  if (said != 0 && said != 3) return InvalidArgument("tls: ca, certificate and key, or none");
  return {};
}

}  // namespace

Status CheckName(std::string_view what, std::string_view name) {
  const bool plain = !name.empty() && name.size() <= kMostNameBytes && name.front() != '-' &&
                     name.back() != '-' && std::ranges::all_of(name, [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
                     });
  if (!plain)
    return InvalidArgument("{}: {}: not 1 to 63 of a-z, 0-9 and -, no - at an end", what, name);
  return {};
}

Result<ClusterConfig> ParseClusterConfig(std::string_view text) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return InvalidArgument("line {}: {}", parsed.error().source().begin.line,
                           parsed.error().description());
  }
  ClusterConfig config;
  for (const auto& [name, node] : parsed.table()) {
    const std::string key(name.str());
    const toml::table* const below = node.as_table();
    if (below == nullptr) RETURN_IF_ERROR(SetOne(key, node, config));
    if (below == nullptr) continue;
    for (const auto& [inner, value] : *below)
      RETURN_IF_ERROR(SetOne(fmt::format("{}.{}", key, inner.str()), value, config));
  }
  RETURN_IF_ERROR(CheckWhole(config));
  return config;
}

Result<ClusterConfig> ReadClusterConfig(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  Result<ClusterConfig> config = ParseClusterConfig(text);
  if (!config) return WithContext(std::move(config).error(), path);
  return config;
}

std::string FormatClusterConfig(const ClusterConfig& given) {
  ClusterConfig config = given;  // TextKeys() wants to write
  const ClusterConfig defaults;
  std::string text = "# Written by gemel cluster; gemel-member keeps the endpoints up to date.\n";
  text += fmt::format("role = \"{}\"\n", config.role == Role::kNode ? "node" : "witness");
  if (config.node != 0) text += fmt::format("node = {}\n", config.node);
  text += fmt::format("log_level = \"{}\"\n", LevelName(config.log_level));
  text += "endpoints = [";
  for (std::size_t i = 0; i < config.endpoints.size(); ++i)
    text += (i == 0 ? "" : ", ") + JsonQuoted(config.endpoints[i]);
  text += "]\n";
  std::string table;
  for (const TextKey& one : TextKeys(config)) {
    if (one.place->empty()) continue;
    const std::size_t dot = one.key.find('.');
    const std::string_view in = dot == std::string_view::npos ? "" : one.key.substr(0, dot);
    if (in != table) text += fmt::format("[{}]\n", in);
    table = in;
    text +=
        fmt::format("{} = {}\n", dot == std::string_view::npos ? one.key : one.key.substr(dot + 1),
                    JsonQuoted(*one.place));
  }
  if (config.member.address.empty()) return text;
  for (const PortKey& one : PortKeys(config)) {  // [member] was the last table
    // Programs of before, which may run on, refuse what they do not know.
    const bool usual = *one.place == MemberConfig().api_port;
    if (one.place == &config.member.api_port && usual) continue;
    text += fmt::format("{} = {}\n", one.key.substr(one.key.find('.') + 1), *one.place);
  }
  return text;
}

}  // namespace gemel::cluster
