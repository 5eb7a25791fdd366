// gemel-vmm: the process of one virtual machine. Started by `gemel run` or the daemon, never by
// hand.
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <string_view>

#include "base/check.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "vmm/process/vm_server.h"

namespace gemel {
namespace {

constexpr int kWrongUse = 2;

// Signals a terminal sends to a whole foreground group, and a closed pipe's, must not end the
// guest; whoever started this process decides and says so over the control socket.
void IgnoreTerminalSignals() {
  for (const int number : {SIGINT, SIGQUIT, SIGHUP, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU})
    signal(number, SIG_IGN);
}

// With glibc's 8 MiB a host that gives huge pages unasked backs the top of each stack with 2 MiB.
void KeepThreadStacksSmall() {
  constexpr std::size_t kStackBytes = 512 << 10;
  pthread_attr_t attributes;
  CHECK(pthread_attr_init(&attributes) == 0);
  CHECK(pthread_attr_setstacksize(&attributes, kStackBytes) == 0);
  CHECK(pthread_setattr_default_np(&attributes) == 0);
  pthread_attr_destroy(&attributes);
}

Result<int> ControlFd(int argc, char** argv) {
  int fd = -1;
  if (argc != 3 || std::string_view(argv[1]) != "--control-fd")
    return InvalidArgument("usage: gemel-vmm --control-fd N (started by gemel run, not by hand)");
  const std::string_view text(argv[2]);
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), fd);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || fd < 3)
    return InvalidArgument("--control-fd: {}: not a descriptor number from 3", text);
  return fd;
}

// Returns only if it could not begin.
Status Serve(int argc, char** argv) {
  ASSIGN_OR_RETURN(const int fd, ControlFd(argc, argv));
  ASSIGN_OR_RETURN(ControlChannel channel, ControlChannel::Adopt(UniqueFd(fd)));
  ASSIGN_OR_RETURN(const std::unique_ptr<EventLoop> loop, EventLoop::Create());
  ASSIGN_OR_RETURN(const std::unique_ptr<VmServer> server,
                   VmServer::Create(std::move(channel), loop.get()));
  loop->Run();
  // Without destructors: they would wait for storage that hangs, and the kernel cleans up as well.
  _exit(server->exit_status());
}

}  // namespace
}  // namespace gemel

int main(int argc, char** argv) {
  gemel::IgnoreTerminalSignals();
  gemel::KeepThreadStacksSmall();
  const auto status = gemel::Serve(argc, argv);
  LOG_UNLIMITED(kError, "gemel-vmm", "{}", status.error().message);
  return gemel::kWrongUse;
}
