// Which servers there are, and which one is meant: a file of the user's, one context a line.
//
//   current rack
//   context rack server=node-a:7443 credentials=/etc/gemel/alice project=web
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gemel::cli {

struct Context {
  // Or HOST:PORT; or several of both with commas between, all of one cluster: the first that answers is
  // asked.
  std::string server = "unix:/run/gemel/api.sock";
  std::string credentials;  // folder with cert.pem, key.pem, ca.pem; of HOST:PORT alone
  std::string project = "default";
  bool operator==(const Context&) const = default;
  std::vector<std::string> servers() const;  // at least one
};

inline bool IsLocal(std::string_view server) { return server.starts_with("unix:"); }

// The context of those who have made none.
inline constexpr std::string_view kLocalContext = "local";

struct Contexts {
  std::string current = std::string(kLocalContext);
  std::map<std::string, Context> all = {{std::string(kLocalContext), Context()}};
  bool operator==(const Contexts&) const = default;
};

// kInvalidArgument with "line 2: ...".
Result<Contexts> ParseContexts(std::string_view text);
std::string FormatContexts(const Contexts& contexts);
// kInvalidArgument names the field and its value.
Status ValidateContext(const std::string& name, const Context& context);

// $GEMEL_CONTEXTS, else gemel/contexts in the user's configuration folder.
std::string ContextsPath();
// A missing file is one without contexts.
Result<Contexts> LoadContexts();
Status SaveContexts(const Contexts& contexts);

}  // namespace gemel::cli
