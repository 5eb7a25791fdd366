// The deadline page (cluster/deadline_page.h) as memory that processes share: gemel-keeper writes it,
// every VM process of the session reads it. One page of a memfd:
//
//    0  "GEMELDLP"        16  session: incarnation        32  deadline
//    8  version, 4 bytes  24  session: number             40  zeros
//
// All numbers are of this host's byte order, and fixed but for the deadline: microseconds of
// CLOCK_BOOTTIME, or kPoisonedUs. It is one atomic number, so that no reader sees half a change.
//
// Sealed: nobody can resize it, or get another way to write it than the writer's own mapping. A
// keeper that dies leaves a page that passes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cluster/deadline_page.h"

namespace gemel::cluster {

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::int64_t kPoisonedUs = std::numeric_limits<std::int64_t>::min();

struct PageLayout {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t unused;
  std::uint64_t incarnation;
  std::uint64_t number;
  std::int64_t deadline_us;
};
static_assert(sizeof(PageLayout) == 40 && offsetof(PageLayout, deadline_us) == 32);

// CLOCK_BOOTTIME, which the deadline is of.
Time BootTime();

// A mapping of one page; move-only.
class PageMapping {
 public:
  PageMapping() = default;
  explicit PageMapping(PageLayout* page) : page_(page) {}
  PageMapping(PageMapping&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  PageMapping& operator=(PageMapping&& other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~PageMapping();
  PageLayout* get() const { return page_; }

 private:
  PageLayout* page_ = nullptr;
};

// One session's page. One thread. Poisons it when it goes.
class PageWriter {
 public:
  // REQUIRES: `page` is not poisoned: the session has begun. Its memory is locked if the host's
  // limits let it be.
  static Result<PageWriter> Create(const DeadlinePage& page);
  PageWriter(PageWriter&&) = default;
  PageWriter& operator=(PageWriter&&) = delete;
  ~PageWriter();

  // Makes `page` what readers see. Only forward: an earlier deadline changes nothing, and a page
  // that was poisoned stays so. REQUIRES: the session that it was made for.
  void Publish(const DeadlinePage& page);
  void Poison();

  // A descriptor to be given away: read-only, and sealed.
  Result<UniqueFd> OpenForReader() const;

 private:
  PageWriter(UniqueFd fd, PageMapping mapping) : fd_(std::move(fd)), mapping_(std::move(mapping)) {}

  UniqueFd fd_;
  PageMapping mapping_;
};

// A page that somebody else gave us.
class PageReader {
 public:
  PageReader() = default;  // a page that allows nothing
  // kInvalidArgument if this is no such page, or one that could change its size or be written by
  // whoever has its descriptor. The descriptor is not needed any more.
  static Result<PageReader> Map(const UniqueFd& fd);

  // What it says at this moment. Any thread; never blocks, once the page was touched.
  DeadlinePage Read() const;

 private:
  explicit PageReader(PageMapping mapping) : mapping_(std::move(mapping)) {}

  PageMapping mapping_;
};

}  // namespace gemel::cluster
