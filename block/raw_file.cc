#include "block/raw_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "base/file_util.h"

namespace gemel::block {
namespace {

constexpr std::uint32_t kSector = 512;
constexpr std::uint32_t kPage = 4096;

Status CheckAccessMode(int flags, bool read_only) {
  const int mode = flags & O_ACCMODE;
  if (mode == O_WRONLY) return InvalidArgument("opened for writing only; it must be readable too");
  if (!read_only && mode == O_RDONLY)
    return InvalidArgument("opened for reading only; make it writable or use readonly=on");
  return {};
}

// True if the descriptor is O_DIRECT afterwards.
Result<bool> SetFlags(int fd, bool read_only, bool direct) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return ErrnoError(errno, "F_GETFL");
  RETURN_IF_ERROR(CheckAccessMode(flags, read_only));
  const int wanted = (flags & ~(O_APPEND | O_NONBLOCK)) | (direct ? O_DIRECT : 0);
  if (wanted != flags && fcntl(fd, F_SETFL, wanted) != 0) {
    if (direct)
      return InvalidArgument("direct=on: the file system has no O_DIRECT; use direct=off");
    return ErrnoError(errno, "F_SETFL");
  }
  return (wanted & O_DIRECT) != 0;
}

// The smallest power of two from 512 to 4096 that a direct read of that length works with.
Result<std::uint32_t> ProbeDirectLength(int fd) {
  const std::unique_ptr<void, decltype(&std::free)> page(std::aligned_alloc(kPage, kPage),
                                                         std::free);
  if (!page) return MakeError(Code::kResourceExhausted, "no memory for a page");
  for (std::uint32_t length = kSector; length <= kPage; length *= 2) {
    if (pread(fd, page.get(), length, 0) >= 0) return length;
    if (errno != EINVAL) return ErrnoError(errno, "direct=on: read");
  }
  return InvalidArgument("direct=on: direct reads of {} bytes fail; use direct=off", kPage);
}

Status ProbeDirect(RawFile& file) {
  struct statx info{};
  if (statx(file.fd.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
      (info.stx_mask & STATX_DIOALIGN) != 0) {
    if (info.stx_dio_offset_align == 0)
      return InvalidArgument("direct=on: this file cannot be read directly; use direct=off");
    file.memory_alignment = std::max(info.stx_dio_mem_align, 1u);
    file.length_alignment = std::max(info.stx_dio_offset_align, kSector);
    return {};
  }
  // Before Linux 6.1: what a read accepts. Memory as aligned as a length is always enough.
  ASSIGN_OR_RETURN(file.length_alignment, ProbeDirectLength(file.fd.get()));
  file.memory_alignment = file.length_alignment;
  return {};
}

Status ProbeDevice(RawFile& file, std::uint32_t discard_granularity) {
  int logical = 0;
  unsigned physical = 0;
  unsigned optimal = 0;
  const int fd = file.fd.get();
  if (ioctl(fd, BLKSSZGET, &logical) != 0) return ErrnoError(errno, "BLKSSZGET");
  if (ioctl(fd, BLKPBSZGET, &physical) != 0) return ErrnoError(errno, "BLKPBSZGET");
  if (ioctl(fd, BLKIOOPT, &optimal) != 0) return ErrnoError(errno, "BLKIOOPT");
  file.topology.logical_block_size = static_cast<std::uint32_t>(logical);
  file.topology.physical_block_size = physical;
  file.topology.optimal_io_size = optimal;
  if (!file.read_only) file.topology.discard_granularity = discard_granularity;
  return {};
}

void ProbeRegular(RawFile& file, blksize_t block_size) {
  // A guest's partition table counts in logical blocks, so they stay 512 bytes wherever the image
  // lies, unless O_DIRECT forces more (below). 4096 physical makes guests align to the host's
  // pages.
  file.topology.physical_block_size = kPage;
  if (file.read_only) return;
  // A hole past the end changes nothing, and says whether the file system can punch one.
  file.can_punch = fallocate(file.fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                             static_cast<off_t>(file.size), kPage) == 0;
  const auto granularity = static_cast<std::uint64_t>(block_size);
  if (file.can_punch)
    file.topology.discard_granularity =
        std::has_single_bit(granularity) && granularity >= kSector && granularity <= (1u << 20)
            ? static_cast<std::uint32_t>(granularity)
            : kPage;
}

Status CheckSize(const RawFile& file) {
  const std::uint32_t block = file.topology.logical_block_size;
  if (file.size == 0) return InvalidArgument("size 0: an empty disk");
  if (file.size % block != 0)
    return InvalidArgument(
        "size {}: not a multiple of {} bytes{}; round it up with truncate --size=%{} FILE",
        file.size, block, block > kSector ? ", which direct=on needs here" : "", block);
  return {};
}

Status CheckBlockSizes(BlockTopology& topology) {
  if (!std::has_single_bit(topology.logical_block_size) || topology.logical_block_size < kSector)
    return InvalidArgument("logical block size {}: not a power of two from 512",
                           topology.logical_block_size);
  if (!std::has_single_bit(topology.physical_block_size) ||
      topology.physical_block_size < topology.logical_block_size)
    topology.physical_block_size = topology.logical_block_size;
  return {};
}

}  // namespace

Result<RawFile> ProbeRawFile(UniqueFd fd, bool read_only, bool direct,
                             std::uint32_t device_discard) {
  RawFile file;
  file.fd = std::move(fd);
  file.read_only = read_only;
  struct stat info{};
  if (fstat(file.fd.get(), &info) != 0) return ErrnoError(errno, "fstat");
  ASSIGN_OR_RETURN(file.size, FileSize(file.fd.get()));
  ASSIGN_OR_RETURN(file.direct, SetFlags(file.fd.get(), read_only, direct));
  if (S_ISBLK(info.st_mode)) {
    RETURN_IF_ERROR(ProbeDevice(file, device_discard));
  } else {
    ProbeRegular(file, info.st_blksize);
  }
  if (file.direct) {
    RETURN_IF_ERROR(ProbeDirect(file));
    file.topology.logical_block_size =
        std::max(file.topology.logical_block_size, file.length_alignment);
  }
  RETURN_IF_ERROR(CheckBlockSizes(file.topology));
  RETURN_IF_ERROR(CheckSize(file));
  return file;
}

}  // namespace gemel::block
