// The folders that disks are in, and the host's block devices that may be disks. Files are
// "<pool>/<uid>.raw"; what is being uploaded is "<pool>/<uid>.upload" until it is whole. Any thread; the
// file system is the state.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gemel::daemon {

struct PoolSpace {
  std::uint64_t capacity = 0;
  std::uint64_t free = 0;
};

class DiskPools {
 public:
  // `pools`: folders by name, made (0700) if they are not there; one that cannot be made is not
  // usable, and Space says why.
  DiskPools(std::map<std::string, std::string> pools, std::vector<std::string> block_devices);

  const std::map<std::string, std::string>& pools() const { return pools_; }
  const std::vector<std::string>& block_devices() const { return block_devices_; }
  bool HasDevice(std::string_view path) const;
  Result<PoolSpace> Space(const std::string& pool) const;

  // kNotFound for a pool that is not there.
  Result<std::string> PathOf(const std::string& pool, std::string_view uid) const;
  Result<std::string> UploadPathOf(const std::string& pool, std::string_view uid) const;
  // Removes what was uploaded for others than `uids`. When no upload is under way.
  void RemoveUploads(const std::set<std::string>& uids) const;

  // Makes the file (of what was uploaded for it, if that is there), or one that is there, have
  // `size` bytes (never fewer than it has), taken from the
  // pool at once if `full`. Returns the bytes that it takes. If it fails, a file that was not there
  // before is not there after. kResourceExhausted names pool and room. Takes its time.
  Result<std::uint64_t> Ensure(const std::string& pool, std::string_view uid, std::uint64_t size,
                               bool full) const;
  // Bytes of the file.
  Result<std::uint64_t> SizeOf(const std::string& pool, std::string_view uid) const;
  // A file that is not there is well.
  Status Remove(const std::string& pool, std::string_view uid) const;
  // Bytes of a block device, or of a file that stands for one; kNotFound, kInvalidArgument for what is
  // neither.
  static Result<std::uint64_t> DeviceSize(const std::string& path);

 private:
  const std::map<std::string, std::string> pools_;
  const std::vector<std::string> block_devices_;
};

}  // namespace gemel::daemon
