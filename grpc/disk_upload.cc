#include "grpc/disk_upload.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "base/file_util.h"

namespace gemel::daemon {
namespace {

constexpr std::size_t kPiece = 64 << 10;  // zeros of this size are left out

bool OnlyZeros(std::string_view bytes) {
  return bytes.empty() ||
         (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

bool SameDigest(std::string_view one, std::string_view other) {
  return std::ranges::equal(one, other, [](unsigned char a, unsigned char b) {
    return std::tolower(a) == std::tolower(b);
  });
}

}  // namespace

Result<std::unique_ptr<DiskUpload>> DiskUpload::Begin(const DiskPools* pools, UploadPlan plan) {
  ASSIGN_OR_RETURN(const std::string path, pools->UploadPathOf(plan.pool, plan.uid));
  ASSIGN_OR_RETURN(UniqueFd file, OpenFile(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW));
  std::unique_ptr<DiskUpload> upload(new DiskUpload(pools, std::move(plan), path, std::move(file)));
  const auto size = static_cast<off_t>(upload->plan_.size);
  const int error = upload->plan_.full ? posix_fallocate(upload->file_.get(), 0, size)
                    : ftruncate(upload->file_.get(), size) != 0 ? errno
                                                                : 0;
  if (error != 0) return std::unexpected(upload->Failed(error).error());
  return upload;
}

DiskUpload::~DiskUpload() {
  if (!kept_) static_cast<void>(unlink(path_.c_str()));
}

Status DiskUpload::Failed(int error) const {
  const auto space = pools_->Space(plan_.pool);
  return ErrnoError(error,
                    fmt::format("pool \"{}\": {} bytes are uploaded, {} have come, {} are free",
                                plan_.pool, plan_.size, has_, space ? space->free : 0));
}

Status DiskUpload::Append(std::string_view bytes) {
  if (bytes.size() > plan_.size - has_)
    return InvalidArgument("data: more than the {} bytes of size_bytes", plan_.size);
  sum_.Update(bytes);
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kPiece);
    if (plan_.full || !OnlyZeros(piece)) RETURN_IF_ERROR(Write(piece));
    has_ += piece.size();
    bytes.remove_prefix(piece.size());
  }
  return {};
}

Status DiskUpload::Write(std::string_view bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = pwrite(file_.get(), bytes.data() + done, bytes.size() - done,
                             static_cast<off_t>(has_ + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Failed(n < 0 ? errno : ENOSPC);
    done += static_cast<std::size_t>(n);
  }
  return {};
}

Status DiskUpload::Finish(std::string_view sha256) {
  if (has_ != plan_.size)
    return InvalidArgument("data: {} bytes have come, and size_bytes is {}", has_, plan_.size);
  if (const std::string sum = sum_.HexDigest(); !sha256.empty() && !SameDigest(sum, sha256))
    return MakeError(Code::kDataLoss,
                     fmt::format("sha256: {}: what has come has {}", sha256.substr(0, 64), sum));
  if (fsync(file_.get()) != 0) return Failed(errno);
  return {};
}

}  // namespace gemel::daemon
