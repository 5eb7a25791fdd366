// What the three processes of one jail tell one another: a page that they share until gemel-vmm
// replaces the third.
//
//   outside ──clone──▶ keeper (pid 1 of the namespace) ──fork──▶ program (gemel-vmm)
#pragma once
#include <cstddef>

namespace gemel::jail {

// The walls, in the order they are reported. The words are those of `--jail`, which
// vmm/process/jail_report.cc reads.
enum class Layer : unsigned char {
  kUser,
  kPid,
  kMount,
  kNetwork,
  kIpc,
  kRoot,
  kOwnUser,
  kCapabilities,
  kCgroup,
};
inline constexpr std::size_t kLayers = 9;
inline constexpr const char kLayerWords[kLayers][16] = {
    "user", "pid", "mount", "network", "ipc", "root", "own-user", "capabilities", "cgroup"};

struct Shared {
  int layers[kLayers];  // errno of why it is not there; 0: it is
  // Something without which no program can be started; empty: nothing.
  char failed_at[64];
  int failed_errno;
  bool ended;       // the program has, with:
  int wait_status;  // as of waitpid
  // What it said of the system call that it was killed for; printable, or empty.
  char refused[80];
  char last_words[256];  // likewise, of why it ends

  int& layer(Layer which) { return layers[static_cast<std::size_t>(which)]; }
  void Fail(const char* at, int error);
};

// Zeroed; null if there is no memory.
Shared* MapShared();

// A descriptor's number in every gemel-jail and in the program it starts.
inline constexpr int kControlFd = 3;  // the program's; gemel-jail only passes it on
inline constexpr int kLifeFd = 4;    // a pipe's end: when the other is closed, the program must end
inline constexpr int kStatusFd = 5;  // where the end is written: exit_record.h
inline constexpr int kReportFd = 4;  // in the program: what it says of a refused system call

}  // namespace gemel::jail
