// A gemel-vmm whose first thread is hostile: confined like the real one, it makes a system call that
// is on nobody's list.
#include <sys/socket.h>

#include <string>
#include <vector>

#include "vmm/process/vmm_options.h"
#include "vmm/sandbox/sandbox.h"

int main(int argc, char** argv) {
  const auto options = gemel::ParseVmmOptions({argv + 1, static_cast<std::size_t>(argc - 1)});
  if (!options) return 2;
  gemel::sandbox::ConfineProcess(options->report_fd);
  gemel::sandbox::ConfineThread(gemel::ThreadRole::kMain);
  return socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 3 : 4;
}
