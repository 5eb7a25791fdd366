// gemel-slirp: the user network of one virtual machine. Started by `gemel run` or the daemon, never
// by hand. Says "ready" on its standard output, or what is wrong, and closes it; ends when the VM
// closes its end of the socket.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <span>

#include "base/log.h"
#include "helpers/slirp/confine.h"
#include "helpers/slirp/options.h"
#include "helpers/slirp/resolver_file.h"
#include "helpers/slirp/user_network.h"

namespace gemel::usernet {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUse = 2;

// What is bound, is bound with the caller's rights; frames are served without any.
Result<std::unique_ptr<UserNetwork>> Prepare(const Options& options) {
  OpenResolverFile();
  GuestLink link{UniqueFd(options.frames_fd)};
  ASSIGN_OR_RETURN(std::unique_ptr<UserNetwork> network,
                   UserNetwork::Create(options.net, std::move(link)));
  RETURN_IF_ERROR(Confine());
  return network;
}

// To whoever waits for it. Should nobody read, the log has it as well.
void Report(std::string_view text) {
  WriteUnlessFull(STDOUT_FILENO, text);
  close(STDOUT_FILENO);
}

int Serve(std::span<const char* const> arguments) {
  const auto options = ParseOptions(arguments);
  if (!options) {
    Report(options.error().message);
    return kWrongUse;
  }
  SetLogName(options->name);
  const auto network = Prepare(*options);
  if (!network) {
    Report(network.error().message);
    return kFailed;
  }
  Report("ready\n");
  (*network)->Run();
  return 0;
}

}  // namespace
}  // namespace gemel::usernet

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  const std::span<const char* const> arguments(argv, static_cast<std::size_t>(argc));
  // Without destructors: each is a chance for a broken libslirp, and the kernel cleans up as well.
  _exit(gemel::usernet::Serve(arguments.subspan(1)));
}
