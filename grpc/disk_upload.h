// The bytes of one upload on their way into a pool: a file beside the disks that goes with this object
// unless it is kept. Blocks; one thread at a time.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "grpc/disk_pools.h"
#include "pki/sha256.h"

namespace gemel::daemon {

struct UploadPlan {
  std::string pool;
  std::string uid;         // of the disk to be
  std::uint64_t size = 0;  // bytes
  bool full = false;       // its room is taken at once; else runs of zeros take none
};

class DiskUpload {
 public:
  // kNotFound for a pool that is not there; kResourceExhausted names pool and room. `pools` outlives
  // it.
  static Result<std::unique_ptr<DiskUpload>> Begin(const DiskPools* pools, UploadPlan plan);
  ~DiskUpload();

  // The next bytes. kInvalidArgument if they are more than the plan has, kResourceExhausted.
  Status Append(std::string_view bytes);
  // After the last: kInvalidArgument if there were fewer, kDataLoss if they have another SHA-256 than
  // `sha256` (empty: not compared). All is on the disk when it returns well.
  Status Finish(std::string_view sha256);
  // The file stays, for DiskPools::Ensure.
  void Keep() { kept_ = true; }

 private:
  DiskUpload(const DiskPools* pools, UploadPlan plan, std::string path, UniqueFd file)
      : pools_(pools), plan_(std::move(plan)), path_(std::move(path)), file_(std::move(file)) {}
  Status Failed(int error) const;
  Status Write(std::string_view bytes);

  const DiskPools* const pools_;
  const UploadPlan plan_;
  const std::string path_;
  const UniqueFd file_;
  pki::Sha256 sum_;
  std::uint64_t has_ = 0;
  bool kept_ = false;
};

}  // namespace gemel::daemon
