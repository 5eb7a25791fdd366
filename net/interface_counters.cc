#include "net/interface_counters.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/file_util.h"

namespace gemel::net {
namespace {

// In the order of Values: what the guest receives the interface has sent.
constexpr std::array<const char*, InterfaceCounters::kFiles> kNames = {"tx_packets", "tx_bytes",
                                                                       "rx_packets", "rx_bytes"};

}  // namespace

Result<std::vector<UniqueFd>> OpenInterfaceCounters(int tap) {
  ifreq request{};
  if (ioctl(tap, TUNGETIFF, &request) != 0) return ErrnoError(errno, "TUNGETIFF");
  request.ifr_name[IFNAMSIZ - 1] = '\0';
  std::vector<UniqueFd> files;
  for (const char* name : kNames) {
    ASSIGN_OR_RETURN(
        UniqueFd file,
        OpenFile(fmt::format("/sys/class/net/{}/statistics/{}", request.ifr_name, name), O_RDONLY));
    files.push_back(std::move(file));
  }
  return files;
}

InterfaceCounters::InterfaceCounters(std::vector<UniqueFd> files) : files_(std::move(files)) {
  CHECK(files_.size() == kFiles);
  for (std::size_t i = 0; i < kFiles; ++i) {
    first_[i] = ReadOne(i);
    last_[i] = first_[i];
  }
}

InterfaceCounters::Values InterfaceCounters::Read() const {
  std::array<std::uint64_t, kFiles> now{};
  for (std::size_t i = 0; i < kFiles; ++i) now[i] = ReadOne(i) - first_[i];
  return {now[0], now[1], now[2], now[3]};
}

std::uint64_t InterfaceCounters::ReadOne(std::size_t index) const {
  std::array<char, 32> text{};
  const ssize_t size = pread(files_[index].get(), text.data(), text.size(), 0);
  std::uint64_t value = 0;
  const char* const end = text.data() + std::max<ssize_t>(size, 0);
  if (std::from_chars(text.data(), end, value).ec != std::errc{}) return last_[index];
  last_[index] = value;
  return value;
}

}  // namespace gemel::net
