#include "vmm/config/sandbox_mode.h"

#include <algorithm>
#include <array>

#include "vmm/config/suggest.h"

namespace gemel {
namespace {

constexpr std::array<std::string_view, 3> kWords = {"required", "default", "off"};

std::string List(const std::vector<SandboxLayer>& layers, bool active) {
  std::string text;
  for (const SandboxLayer& layer : layers) {
    if (layer.active != active) continue;
    if (!text.empty()) text += ", ";
    text += layer.name;
    if (!layer.note.empty()) text += " (" + layer.note + ")";
  }
  return text;
}

}  // namespace

Result<SandboxMode> ParseSandboxMode(std::string_view text) {
  const auto found = std::ranges::find(kWords, text);
  if (found == kWords.end())
    return InvalidArgument("sandbox: {}: unknown; there is {}", text, JoinWords(kWords));
  return static_cast<SandboxMode>(found - kWords.begin());
}

std::string_view SandboxModeWord(SandboxMode mode) {
  return kWords.at(static_cast<std::size_t>(mode));
}

std::string MissingLayers(const std::vector<SandboxLayer>& layers) { return List(layers, false); }
std::string ActiveLayers(const std::vector<SandboxLayer>& layers) { return List(layers, true); }

}  // namespace gemel
