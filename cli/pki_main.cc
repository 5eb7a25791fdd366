// gemel-pki: what `gemel pki` runs. A program of its own because it links libcrypto, which
// `gemel run` must not wait for.
#include <cstdio>
#include <string>
#include <vector>

#include "cli/command_pki.h"
#include "cli/exit_status.h"

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  const int status = gemel::cli::PkiCommand(words);
  return std::fflush(stdout) == 0 ? status : gemel::cli::kFailed;
}
