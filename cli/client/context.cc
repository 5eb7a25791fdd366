#include "cli/client/context.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/file_util.h"

namespace gemel::cli {
namespace {

std::vector<std::string> WordsOf(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const std::size_t end = std::min(line.find(' '), line.size());
    if (end > 0) words.emplace_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

bool IsWord(std::string_view text) {
  return !text.empty() &&
         std::ranges::none_of(text, [](char c) { return (c >= 0 && c <= ' ') || c == 0x7f; });
}

Status ParseContextLine(const std::vector<std::string>& words, Contexts& contexts) {
  if (words.size() < 2) return InvalidArgument("context: its name is missing");
  Context context;
  for (std::size_t i = 2; i < words.size(); ++i) {
    const std::size_t equals = std::min(words[i].find('='), words[i].size());
    const std::string key = words[i].substr(0, equals);
    std::string* const field = key == "server"        ? &context.server
                               : key == "credentials" ? &context.credentials
                               : key == "project"     ? &context.project
                                                      : nullptr;
    if (field == nullptr || equals == words[i].size())
      return InvalidArgument("{}: not server=, credentials= or project=", words[i]);
    *field = words[i].substr(equals + 1);
  }
  RETURN_IF_ERROR(ValidateContext(words[1], context));
  contexts.all[words[1]] = std::move(context);
  return {};
}

}  // namespace

std::vector<std::string> Context::servers() const {
  std::vector<std::string> all;
  for (std::size_t begin = 0; begin <= server.size();) {
    const std::size_t end = std::min(server.find(',', begin), server.size());
    all.push_back(server.substr(begin, end - begin));
    begin = end + 1;
  }
  return all;
}

Status ValidateContext(const std::string& name, const Context& context) {
  if (!IsWord(name)) return InvalidArgument("context: {}: not one word", name);
  for (const std::string& server : context.servers()) {
    const bool path = server.starts_with("unix:/");
    const bool port = !IsLocal(server) && server.rfind(':') != std::string::npos;
    if (!IsWord(server) || (!path && !port))
      return InvalidArgument("server: {}: neither HOST:PORT nor unix:/PATH", server);
    if (!path && context.credentials.empty())
      return InvalidArgument("credentials: {}: needs a folder with cert.pem, key.pem and ca.pem",
                             server);
  }
  if (!context.credentials.empty() && !IsWord(context.credentials))
    return InvalidArgument("credentials: {}: a path without spaces", context.credentials);
  if (!IsWord(context.project) || context.project.find('/') != std::string::npos)
    return InvalidArgument("project: {}: not a project's name", context.project);
  return {};
}

Result<Contexts> ParseContexts(std::string_view text) {
  Contexts contexts;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::vector<std::string> words = WordsOf(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (words.empty() || words[0].starts_with('#')) continue;
    Status parsed;
    if (words[0] == "current" && words.size() == 2)
      contexts.current = words[1];
    else if (words[0] == "context")
      parsed = ParseContextLine(words, contexts);
    else
      parsed = InvalidArgument("{}: unknown", words[0]);
    if (!parsed) return WithContext(std::move(parsed).error(), fmt::format("line {}", number));
  }
  return contexts;
}

std::string FormatContexts(const Contexts& contexts) {
  std::string text = fmt::format("current {}\n", contexts.current);
  for (const auto& [name, context] : contexts.all) {
    text += fmt::format("context {} server={}", name, context.server);
    if (!context.credentials.empty()) text += " credentials=" + context.credentials;
    text += fmt::format(" project={}\n", context.project);
  }
  return text;
}

std::string ContextsPath() {
  if (const char* path = std::getenv("GEMEL_CONTEXTS"); path != nullptr && *path != '\0')
    return path;
  const char* const config = std::getenv("XDG_CONFIG_HOME");
  if (config != nullptr && *config == '/') return fmt::format("{}/gemel/contexts", config);
  const char* const home = std::getenv("HOME");
  return fmt::format("{}/.config/gemel/contexts", home == nullptr ? "" : home);
}

Result<Contexts> LoadContexts() {
  const std::string path = ContextsPath();
  if (StampOf(path).size < 0) return Contexts();
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path));
  auto contexts = ParseContexts(text);
  if (!contexts) return WithContext(std::move(contexts).error(), path);
  return contexts;
}

Status SaveContexts(const Contexts& contexts) {
  const std::filesystem::path path = ContextsPath();
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) return ErrnoError(error.value(), path.parent_path().string());
  return ReplaceFile(path, FormatContexts(contexts));
}

}  // namespace gemel::cli
