#include "block/device_discard.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstdlib>
#include <string>

#include "base/file_util.h"

namespace gemel::block {
namespace {

// The number in a queue attribute of a block device or of the disk that a partition lies on; 0 if
// there is none or /sys cannot be seen.
std::uint32_t QueueAttribute(dev_t device, const char* name) {
  const std::string base = fmt::format("/sys/dev/block/{}:{}/", major(device), minor(device));
  for (const char* queue : {"queue/", "../queue/"}) {
    const Result<std::string> text = ReadTextFile(base + queue + name, 64);
    if (text) return static_cast<std::uint32_t>(std::strtoul(text->c_str(), nullptr, 10));
  }
  return 0;
}

}  // namespace

std::uint32_t DeviceDiscard(int fd) {
  struct stat info{};
  if (fstat(fd, &info) != 0 || !S_ISBLK(info.st_mode)) return 0;
  // A device without discard has discard_max_bytes 0, whatever its granularity says.
  if (QueueAttribute(info.st_rdev, "discard_max_bytes") == 0) return 0;
  return QueueAttribute(info.st_rdev, "discard_granularity");
}

}  // namespace gemel::block
