// A kernel or initrd given as an open file, with the words its errors begin with.
//
// The file is somebody else's: every offset and size that comes out of it is checked against `size`
// before use, and a file that shrinks meanwhile is a read error.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace gemel::boot {

class ImageFile {
 public:
  // `argument` is the command line's word ("kernel"), `path` is for messages only; `fd` and both
  // views must outlive this. kInvalidArgument unless `fd` is a regular file or block device with
  // content.
  static Result<ImageFile> Create(int fd, std::string_view argument, std::string_view path);

  std::uint64_t size() const { return size_; }
  // Fills `out` from `offset`, straight from the page cache. Fails if the file ends before.
  Status Read(std::uint64_t offset, std::span<std::byte> out) const;

  // kInvalidArgument: "kernel: /path: <message>".
  template <class... Args>
  std::unexpected<Error> Invalid(fmt::format_string<Args...> format, Args&&... args) const {
    return WithContext(
        Error{Code::kInvalidArgument, fmt::format(format, std::forward<Args>(args)...)}, Context());
  }

 private:
  ImageFile(int fd, std::string_view argument, std::string_view path)
      : fd_(fd), argument_(argument), path_(path) {}
  std::string Context() const { return fmt::format("{}: {}", argument_, path_); }

  int fd_;
  std::string_view argument_;
  std::string_view path_;
  std::uint64_t size_ = 0;
};

// "900 MiB", "1.5 MiB", "700 KiB", "12 bytes".
std::string FormatBytes(std::uint64_t bytes);

}  // namespace gemel::boot
