#include "helpers/slirp/resolver_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "base/unique_fd.h"

namespace gemel::usernet {
namespace {

constexpr const char* kPath = "/etc/resolv.conf";

UniqueFd& ResolverFd() {
  static UniqueFd fd;
  return fd;
}

// What is past the first 4 KiB is no name server of the first three.
FILE* OpenCopy() {
  static std::array<char, 4096> copy;
  const ssize_t n = pread(ResolverFd().get(), copy.data(), copy.size(), 0);
  if (n > 0) return fmemopen(copy.data(), static_cast<std::size_t>(n), "r");
  errno = ENOENT;
  return nullptr;
}

}  // namespace

void OpenResolverFile() { ResolverFd().Reset(open(kPath, O_RDONLY | O_CLOEXEC | O_NOCTTY)); }

}  // namespace gemel::usernet

// The linker lets these stand before the C library's, for libslirp and GLib too. Before the process
// is confined other paths are opened as ever; afterwards that fails.
extern "C" {

FILE* fopen64(const char* path, const char* mode) {
  using gemel::usernet::kPath;
  if (std::string_view(path) == kPath) return gemel::usernet::OpenCopy();
  if (mode[0] != 'r' || std::string_view(mode).find('+') != std::string_view::npos) {
    errno = EACCES;  // nothing here writes files
    return nullptr;
  }
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd < 0 ? nullptr : fdopen(fd, "r");
}

int stat64(const char* path, struct stat64* out) noexcept {
  using gemel::usernet::kPath;
  // The system call itself: glibc's fstat is a newfstatat, which takes paths and is refused.
  if (std::string_view(path) == kPath)
    return static_cast<int>(syscall(SYS_fstat, gemel::usernet::ResolverFd().get(), out));
  return static_cast<int>(syscall(SYS_newfstatat, AT_FDCWD, path, out, 0));
}

}  // extern "C"
