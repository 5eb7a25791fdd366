#include "cli/exec_program.h"

#include <unistd.h>

#include <cerrno>
#include <vector>

#include "launch/child_process.h"

namespace gemel::cli {

Error ExecProgram(std::string_view name, std::string_view build_folder, const char* environment,
                  std::span<const std::string> words) {
  auto path = launch::FindProgram(name, build_folder, environment);
  if (!path) return std::move(path).error();
  std::string title(name);
  std::vector<std::string> copies(words.begin(), words.end());
  std::vector<char*> arguments = {title.data()};
  for (std::string& word : copies) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv(path->c_str(), arguments.data());
  return ErrnoError(errno, *path).error();
}

}  // namespace gemel::cli
