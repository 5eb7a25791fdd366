#include "grpc/disk_pools.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/file_util.h"

namespace gemel::daemon {
namespace {

constexpr std::string_view kSuffix = ".raw";
constexpr std::string_view kUploadSuffix = ".upload";

Status SyncFolder(const std::string& folder) {
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenFile(folder, O_RDONLY | O_DIRECTORY));
  if (fsync(fd.get()) != 0) return ErrnoError(errno, folder);
  return {};
}

// Grows `fd` from `has` bytes to `size`; on the disk when it returns.
Status Grow(int fd, std::uint64_t has, std::uint64_t size, bool full) {
  if (size > has) {
    const auto from = static_cast<off_t>(has);
    const auto end = static_cast<off_t>(size);
    if (full && posix_fallocate(fd, from, end - from) != 0)
      return MakeError(Code::kResourceExhausted, "no room");
    if (!full && ftruncate(fd, end) != 0) return ErrnoError(errno, "grow");
  }
  if (fsync(fd) != 0) return ErrnoError(errno, "sync");
  return {};
}

}  // namespace

DiskPools::DiskPools(std::map<std::string, std::string> pools,
                     std::vector<std::string> block_devices)
    : pools_(std::move(pools)), block_devices_(std::move(block_devices)) {
  for (const auto& [name, folder] : pools_) {
    std::error_code ignored;  // Space tells
    std::filesystem::create_directories(folder, ignored);
    static_cast<void>(chmod(folder.c_str(), 0700));
  }
}

bool DiskPools::HasDevice(std::string_view path) const {
  return std::find(block_devices_.begin(), block_devices_.end(), path) != block_devices_.end();
}

Result<PoolSpace> DiskPools::Space(const std::string& pool) const {
  const auto found = pools_.find(pool);
  if (found == pools_.end()) return MakeError(Code::kNotFound, fmt::format("no pool \"{}\"", pool));
  struct statvfs space{};
  if (statvfs(found->second.c_str(), &space) != 0) return ErrnoError(errno, found->second);
  return PoolSpace{space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize};
}

Result<std::string> DiskPools::PathOf(const std::string& pool, std::string_view uid) const {
  const auto found = pools_.find(pool);
  if (found == pools_.end()) return MakeError(Code::kNotFound, fmt::format("no pool \"{}\"", pool));
  return fmt::format("{}/{}{}", found->second, uid, kSuffix);
}

Result<std::string> DiskPools::UploadPathOf(const std::string& pool, std::string_view uid) const {
  ASSIGN_OR_RETURN(const std::string path, PathOf(pool, uid));
  return path.substr(0, path.size() - kSuffix.size()) + std::string(kUploadSuffix);
}

void DiskPools::RemoveUploads(const std::set<std::string>& uids) const {
  for (const auto& [name, folder] : pools_) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      if (entry.path().extension() == kUploadSuffix && !uids.contains(entry.path().stem()))
        static_cast<void>(unlink(entry.path().c_str()));
    }
  }
}

Result<std::uint64_t> DiskPools::Ensure(const std::string& pool, std::string_view uid,
                                        std::uint64_t size, bool full) const {
  ASSIGN_OR_RETURN(const std::string path, PathOf(pool, uid));
  const bool was_there = ::access(path.c_str(), F_OK) == 0;
  if (!was_there) {
    ASSIGN_OR_RETURN(const std::string uploaded, UploadPathOf(pool, uid));
    if (rename(uploaded.c_str(), path.c_str()) != 0 && errno != ENOENT)
      return ErrnoError(errno, uploaded);
  }
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenFile(path, O_RDWR | O_CREAT | O_NOFOLLOW));
  ASSIGN_OR_RETURN(const std::uint64_t has, FileSize(fd.get()));
  Status grown = Grow(fd.get(), has, size, full);
  if (grown) grown = SyncFolder(pools_.at(pool));
  if (!grown) {
    if (was_there)
      static_cast<void>(ftruncate(fd.get(), static_cast<off_t>(has)) == 0);
    else
      static_cast<void>(unlink(path.c_str()));
    const Result<PoolSpace> space = Space(pool);
    return MakeError(grown.error().code,
                     fmt::format("pool \"{}\": {} bytes asked for, {} are free: {}", pool, size,
                                 space ? space->free : 0, grown.error().message));
  }
  struct stat facts{};
  if (fstat(fd.get(), &facts) != 0) return ErrnoError(errno, path);
  return static_cast<std::uint64_t>(facts.st_blocks) * 512;
}

Result<std::uint64_t> DiskPools::SizeOf(const std::string& pool, std::string_view uid) const {
  ASSIGN_OR_RETURN(const std::string path, PathOf(pool, uid));
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenFile(path, O_RDONLY | O_NOFOLLOW));
  return FileSize(fd.get());
}

Status DiskPools::Remove(const std::string& pool, std::string_view uid) const {
  ASSIGN_OR_RETURN(const std::string path, PathOf(pool, uid));
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, path);
  return SyncFolder(pools_.at(pool));
}

Result<std::uint64_t> DiskPools::DeviceSize(const std::string& path) {
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenFile(path, O_RDONLY | O_NONBLOCK));
  struct stat facts{};
  if (fstat(fd.get(), &facts) != 0) return ErrnoError(errno, path);
  if (!S_ISBLK(facts.st_mode) && !S_ISREG(facts.st_mode))
    return InvalidArgument("{}: neither a block device nor a file", path);
  return FileSize(fd.get());
}

}  // namespace gemel::daemon
