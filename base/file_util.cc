#include "base/file_util.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace gemel {

Result<UniqueFd> OpenFile(const std::string& path, int flags, mode_t mode) {
  UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) return ErrnoError(errno, path);
  return fd;
}

Status ReadExactlyAt(int fd, std::uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "read");
    if (n == 0) {
      return MakeError(Code::kOutOfRange,
                       fmt::format("file ends at byte {}, {} short", offset, out.size()));
    }
    offset += static_cast<std::uint64_t>(n);
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Status WriteAll(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<std::uint64_t> FileSize(int fd) {
  struct stat info{};
  if (fstat(fd, &info) != 0) return ErrnoError(errno, "fstat");
  if (S_ISREG(info.st_mode)) return static_cast<std::uint64_t>(info.st_size);
  if (S_ISBLK(info.st_mode)) {
    std::uint64_t size = 0;
    if (ioctl(fd, BLKGETSIZE64, &size) != 0) return ErrnoError(errno, "BLKGETSIZE64");
    return size;
  }
  return InvalidArgument("neither a regular file nor a block device");
}

Result<std::string> ReadTextFile(const std::string& path, std::size_t limit) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(path, O_RDONLY));
  std::string text;
  char buffer[4096];
  while (true) {
    const ssize_t n = read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, path);
    if (n == 0) return text;
    text.append(buffer, static_cast<std::size_t>(n));
    if (text.size() > limit)
      return MakeError(Code::kOutOfRange, fmt::format("{}: more than {} bytes", path, limit));
  }
}

Status ReplaceFile(const std::string& path, std::string_view text, mode_t mode) {
  const std::string temporary = path + ".new";
  if (unlink(temporary.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, temporary);
  ASSIGN_OR_RETURN(UniqueFd file, OpenFile(temporary, O_WRONLY | O_CREAT | O_EXCL, mode));
  auto written = WriteAll(file.get(), std::as_bytes(std::span(text)));
  if (written && fsync(file.get()) != 0) written = ErrnoError(errno, "fsync");
  if (written && rename(temporary.c_str(), path.c_str()) != 0)
    written = ErrnoError(errno, "rename");
  if (!written) {
    unlink(temporary.c_str());
    return WithContext(std::move(written).error(), path);
  }
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  ASSIGN_OR_RETURN(UniqueFd directory, OpenFile(folder, O_RDONLY | O_DIRECTORY));
  if (fsync(directory.get()) != 0) return ErrnoError(errno, folder);
  return {};
}

FileStamp StampOf(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return {};
  return {info.st_dev, info.st_ino,
          static_cast<std::int64_t>(info.st_ctim.tv_sec) * 1'000'000'000 + info.st_ctim.tv_nsec,
          info.st_size};
}

}  // namespace gemel
