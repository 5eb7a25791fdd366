// How much of the sandbox a VM's process must have, and how much it has got: words and data.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gemel {

enum class SandboxMode : std::uint8_t {
  kRequired,  // every layer, or the VM does not start
  kDefault,   // what this host gives
  kOff,       // none: for debuggers
};

// "required", "default" or "off"; else kInvalidArgument, for the user.
Result<SandboxMode> ParseSandboxMode(std::string_view text);
std::string_view SandboxModeWord(SandboxMode mode);

// One wall between a VM's process and its host.
struct SandboxLayer {
  std::string name;  // "network namespace"
  bool active = false;
  std::string note;  // why it is not there, or which version
  bool operator==(const SandboxLayer&) const = default;
};

// "own user (needs root), Landlock (Function not implemented)"; empty if all are there.
std::string MissingLayers(const std::vector<SandboxLayer>& layers);
// "user namespace, network namespace, Landlock (ABI 7)": those that are there.
std::string ActiveLayers(const std::vector<SandboxLayer>& layers);

}  // namespace gemel
