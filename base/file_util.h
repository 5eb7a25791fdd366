// Files: open, whole reads and writes that survive EINTR and short counts.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel {

// open(2) with O_CLOEXEC. The error names the path.
Result<UniqueFd> OpenFile(const std::string& path, int flags, mode_t mode = 0600);

// Reads exactly out.size() bytes at `offset`; kOutOfRange if the file ends first.
Status ReadExactlyAt(int fd, std::uint64_t offset, std::span<std::byte> out);

// Writes all of `bytes` at the file position. A non-blocking fd that is full gives kUnavailable.
Status WriteAll(int fd, std::span<const std::byte> bytes);

// Bytes in a regular file or block device; anything else is kInvalidArgument.
Result<std::uint64_t> FileSize(int fd);

// The whole of a small text file, such as one in /proc or /sys; kOutOfRange beyond `limit` bytes.
Result<std::string> ReadTextFile(const std::string& path, std::size_t limit = 1 << 20);

// Makes `path` a file with this text, whole or not at all, whatever happens meanwhile: written
// beside it under another name, synced, renamed over it, and the folder synced. Two writers at once
// need a lock of their own.
Status ReplaceFile(const std::string& path, std::string_view text, mode_t mode = 0600);

// Which contents a path has, without reading them: differs after every ReplaceFile, and after an
// edit in place unless it keeps the size within the file system's time step.
struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t changed_ns = 0;  // ctime
  std::int64_t size = -1;       // -1: there is no such file
  bool operator==(const FileStamp&) const = default;
};
FileStamp StampOf(const std::string& path);

}  // namespace gemel
