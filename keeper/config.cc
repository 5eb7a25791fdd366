#include "keeper/config.h"

#include <array>
#include <utility>

// Its compiled library throws.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "base/file_util.h"

namespace gemel::keeper {
namespace {

constexpr std::string_view kHelp =
    "usage: gemel-keeper [--config FILE]\n"
    "Keeps this node a member of its cluster. FILE is /etc/gemel/cluster.toml if not said; see\n"
    "docs/FAILOVER.md.\n";
// A storage key has 8 bits for it (cluster/records.h).
constexpr std::int64_t kHighestNode = 255;

Result<LogLevel> ParseLevel(std::string_view word) {
  static constexpr std::array<std::pair<std::string_view, LogLevel>, 4> kLevels = {{
      {"debug", LogLevel::kDebug},
      {"info", LogLevel::kInfo},
      {"warning", LogLevel::kWarning},
      {"error", LogLevel::kError},
  }};
  for (const auto& [name, level] : kLevels)
    if (name == word) return level;
  return InvalidArgument("log_level: {}: one of debug, info, warning, error", word);
}

Status SetText(std::string_view key, const std::string& value, Config& config) {
  const std::pair<std::string_view, std::string*> places[] = {
      {"state_dir", &config.state_dir}, {"run_dir", &config.run_dir},
      {"tls.ca", &config.ca},           {"tls.certificate", &config.certificate},
      {"tls.key", &config.key},
  };
  for (const auto& [name, place] : places) {
    if (name != key) continue;
    if (!value.starts_with('/')) return InvalidArgument("{}: {}: not an absolute path", key, value);
    *place = value;
    return {};
  }
  if (key != "log_level") return InvalidArgument("{}: unknown, or not of this kind", key);
  ASSIGN_OR_RETURN(config.log_level, ParseLevel(value));
  return {};
}

Status SetEndpoints(std::string_view key, const toml::array& values, Config& config) {
  if (key != "endpoints") return InvalidArgument("{}: unknown, or not a list", key);
  for (const toml::node& node : values) {
    const auto text = node.value_exact<std::string>();
    if (!text) return InvalidArgument("endpoints: a list of texts, and this is none");
    config.endpoints.push_back(*text);
  }
  return {};
}

Status SetNode(std::int64_t number, Config& config) {
  if (number < 1 || number > kHighestNode)
    return InvalidArgument("node: {}: from 1 to {}", number, kHighestNode);
  config.node = static_cast<cluster::NodeId>(number);
  return {};
}

Status SetOne(const std::string& key, const toml::node& node, Config& config) {
  if (const auto* list = node.as_array()) return SetEndpoints(key, *list, config);
  if (const auto number = node.value_exact<std::int64_t>(); number && key == "node")
    return SetNode(*number, config);
  if (const auto text = node.value_exact<std::string>()) return SetText(key, *text, config);
  return InvalidArgument("{}: unknown, or not of this kind", key);
}

}  // namespace

Result<Config> ParseConfig(std::string_view text) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    return InvalidArgument("line {}: {}", parsed.error().source().begin.line,
                           parsed.error().description());
  }
  Config config;
  for (const auto& [name, node] : parsed.table()) {
    const std::string key(name.str());
    const toml::table* const below = node.as_table();
    if (below == nullptr) RETURN_IF_ERROR(SetOne(key, node, config));
    if (below == nullptr) continue;
    for (const auto& [inner, value] : *below)
      RETURN_IF_ERROR(SetOne(fmt::format("{}.{}", key, inner.str()), value, config));
  }
  if (config.node == 0) return InvalidArgument("node: missing");
  if (config.endpoints.empty()) return InvalidArgument("endpoints: missing");
  const int said = (config.ca.empty() ? 0 : 1) + (config.certificate.empty() ? 0 : 1) +
                   (config.key.empty() ? 0 : 1);
  if (said != 0 && said != 3) return InvalidArgument("tls: ca, certificate and key, or none");
  return config;
}

Result<Config> ReadConfig(const std::vector<std::string>& words) {
  std::string path = "/etc/gemel/cluster.toml";
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--help" || words[i] == "-h")
      return MakeError(Code::kCancelled, std::string(kHelp));
    if (words[i] == "--version")
      return MakeError(Code::kCancelled, "gemel-keeper " GEMEL_VERSION "\n");
    if (words[i] != "--config" || i + 1 == words.size())
      return InvalidArgument("{}: unknown word; gemel-keeper --help", words[i]);
    path = words[++i];
  }
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  Result<Config> config = ParseConfig(text);
  if (!config) return WithContext(std::move(config).error(), path);
  return config;
}

}  // namespace gemel::keeper
