#include "vmm/boot/image_file.h"

#include "base/file_util.h"

namespace gemel::boot {

Result<ImageFile> ImageFile::Create(int fd, std::string_view argument, std::string_view path) {
  ImageFile file(fd, argument, path);
  auto size = FileSize(fd);
  if (!size) return WithContext(std::move(size).error(), file.Context());
  if (*size == 0) return file.Invalid("is empty");
  file.size_ = *size;
  return file;
}

Status ImageFile::Read(std::uint64_t offset, std::span<std::byte> out) const {
  Status done = ReadExactlyAt(fd_, offset, out);
  if (!done) return WithContext(std::move(done).error(), Context());
  return {};
}

std::string FormatBytes(std::uint64_t bytes) {
  struct Unit {
    unsigned shift;
    const char* name;
  };
  for (const Unit unit : {Unit{30, "GiB"}, Unit{20, "MiB"}, Unit{10, "KiB"}}) {
    const std::uint64_t one = 1ull << unit.shift;
    if (bytes < one) continue;
    if (bytes % one == 0) return fmt::format("{} {}", bytes >> unit.shift, unit.name);
    return fmt::format("{:.1f} {}", static_cast<double>(bytes) / static_cast<double>(one),
                       unit.name);
  }
  return fmt::format("{} bytes", bytes);
}

}  // namespace gemel::boot
