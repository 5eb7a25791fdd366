// Files that a test may ruin: on the build's file system or in /dev/shm, deleted at once.
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/unique_fd.h"

namespace gemel::block {

// An unnamed file of `size` bytes that reads as zeros. `flags` are added to O_RDWR.
inline UniqueFd ScratchFile(const std::string& folder, std::uint64_t size, int flags = 0) {
  UniqueFd fd(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600));
  CHECK(fd.get() >= 0);
  CHECK(ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
  return fd;
}

// A second, separate open of the same file.
inline UniqueFd Reopen(const UniqueFd& fd, int flags) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  return UniqueFd(open(path.c_str(), flags | O_CLOEXEC));
}

inline std::uint64_t BytesAllocated(const UniqueFd& fd) {
  struct stat info{};
  CHECK(fstat(fd.get(), &info) == 0);
  return static_cast<std::uint64_t>(info.st_blocks) * 512;
}

inline std::vector<std::byte> Pattern(std::size_t size, unsigned seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>((i * 7 + i / 512 + seed) & 0xff);
  return bytes;
}

inline std::vector<std::byte> FileBytes(const UniqueFd& fd, std::uint64_t offset,
                                        std::size_t size) {
  std::vector<std::byte> bytes(size);
  CHECK(pread(fd.get(), bytes.data(), size, static_cast<off_t>(offset)) ==
        static_cast<ssize_t>(size));
  return bytes;
}

}  // namespace gemel::block
