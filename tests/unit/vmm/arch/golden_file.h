// Files that hold what a machine type shows its guests. Before the first release
// GEMEL_WRITE_GOLDEN=1 writes them anew; afterwards a change belongs in a new machine type.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace gemel::testing {

inline std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Whether the file holds these bytes.
inline bool IsGolden(const std::filesystem::path& path, const std::string& bytes) {
  if (std::getenv("GEMEL_WRITE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << bytes;
  return ReadAll(path) == bytes;
}

}  // namespace gemel::testing
