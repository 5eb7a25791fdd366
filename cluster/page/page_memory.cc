#include "cluster/page/page_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "base/clock.h"

namespace gemel::cluster {
namespace {

constexpr std::uint64_t kMagic = 0x504c'444c'454d'4547;  // "GEMELDLP"
constexpr std::uint32_t kVersion = 1;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

Result<PageMapping> MapPage(int fd, int protection) {
  // SAFETY: a new mapping of a whole file, which is as long as that and sealed against shrinking
  // (by our caller, before or after); unmapped by ~PageMapping.
  void* const at = mmap(nullptr, kPageBytes, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (at == MAP_FAILED) return ErrnoError(errno, "deadline page: mmap");
  return PageMapping(static_cast<PageLayout*>(at));
}

std::int64_t Load(const PageLayout* page) {
  return __atomic_load_n(&page->deadline_us, __ATOMIC_ACQUIRE);
}
void Store(PageLayout* page, std::int64_t us) {
  __atomic_store_n(&page->deadline_us, us, __ATOMIC_RELEASE);
}

}  // namespace

Time BootTime() { return {BootNs() / 1000}; }

PageMapping::~PageMapping() {
  if (page_ != nullptr) munmap(page_, kPageBytes);
}

Result<PageWriter> PageWriter::Create(const DeadlinePage& page) {
  CHECK(!page.poisoned);
  UniqueFd fd(memfd_create("gemel-deadline", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return ErrnoError(errno, "deadline page: memfd_create");
  if (ftruncate(fd.get(), kPageBytes) != 0) return ErrnoError(errno, "deadline page: ftruncate");
  ASSIGN_OR_RETURN(PageMapping mapping, MapPage(fd.get(), PROT_READ | PROT_WRITE));
  static_cast<void>(mlock(mapping.get(), kPageBytes));
  PageLayout* const layout = mapping.get();
  layout->magic = kMagic;
  layout->version = kVersion;
  layout->incarnation = page.session.incarnation;
  layout->number = page.session.number;
  Store(layout, page.deadline.us);
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0)
    return ErrnoError(errno, "deadline page: F_ADD_SEALS");
  return PageWriter(std::move(fd), std::move(mapping));
}

PageWriter::~PageWriter() {
  if (mapping_.get() != nullptr) Poison();
}

void PageWriter::Publish(const DeadlinePage& page) {
  PageLayout* const layout = mapping_.get();
  CHECK(page.session == (SessionId{layout->incarnation, layout->number}));
  if (page.poisoned) return Poison();
  const std::int64_t before = Load(layout);
  if (before != kPoisonedUs && page.deadline.us > before) Store(layout, page.deadline.us);
}

void PageWriter::Poison() { Store(mapping_.get(), kPoisonedUs); }

Result<UniqueFd> PageWriter::OpenForReader() const {
  UniqueFd fd(open(fmt::format("/proc/self/fd/{}", fd_.get()).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return ErrnoError(errno, "deadline page: open for reading");
  return fd;
}

Result<PageReader> PageReader::Map(const UniqueFd& fd) {
  // Only a memfd (or a file of the same kind) has seals at all.
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0) return ErrnoError(errno, "deadline page: seals");
  if ((seals & kSeals) != kSeals)
    return InvalidArgument("deadline page: seals {:#x}: not all of {:#x}", seals, kSeals);
  struct stat facts{};
  if (fstat(fd.get(), &facts) != 0) return ErrnoError(errno, "deadline page: fstat");
  if (facts.st_size != static_cast<off_t>(kPageBytes))
    return InvalidArgument("deadline page: {} bytes, not {}", facts.st_size, kPageBytes);
  ASSIGN_OR_RETURN(PageMapping mapping, MapPage(fd.get(), PROT_READ));
  const PageLayout* const layout = mapping.get();
  if (layout->magic != kMagic || layout->version != kVersion)
    return InvalidArgument("deadline page: magic {:#x}, version {}: not of this Gemel",
                           layout->magic, layout->version);
  return PageReader(std::move(mapping));
}

DeadlinePage PageReader::Read() const {
  const PageLayout* const layout = mapping_.get();
  if (layout == nullptr) return {};
  const std::int64_t us = Load(layout);
  DeadlinePage page;
  page.session = {layout->incarnation, layout->number};
  page.poisoned = us == kPoisonedUs;
  if (!page.poisoned) page.deadline = {us};
  return page;
}

}  // namespace gemel::cluster
