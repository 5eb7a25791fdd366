// gemel-client: the verbs of `gemel` that ask gemeld. A program of its own because it links gRPC.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "cli/client/client_error.h"
#include "cli/client/nouns.h"
#include "cli/exit_status.h"
#include "cli/report.h"

int main(int argc, char** argv) {
  // gRPC's own lines are for its authors; what matters comes with the call's status.
  setenv("GRPC_VERBOSITY", "NONE", 0);
  // No TLS below 1.3, as the server has it (grpc/access/server_tls.h says how).
  setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1);
  signal(SIGPIPE, SIG_IGN);
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  const gemel::Status status = gemel::cli::RunNoun(words);
  if (!status) gemel::cli::PrintError(status.error());
  std::fflush(stdout);
  // Not exit(): gRPC's threads may be in the middle of something that nobody needs any more.
  _exit(status ? gemel::cli::kDone : gemel::cli::ExitStatusOf(status.error().code));
}
