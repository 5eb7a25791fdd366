#include "vmm/bus/io_bus.h"

#include <algorithm>
#include <cstring>

namespace gemel {
namespace {

constexpr std::size_t kFirstCapacity = 32;

bool Wraps(std::uint64_t base, std::uint64_t size) {
  return size == 0 || base > UINT64_MAX - (size - 1);
}

}  // namespace

// Mappings that one writer stores while readers load them. A reader may see parts of two states; it
// stays within the capacity all the same, and the version tells it to search again. Each load is an
// acquire and each store a release: who sees a part of a later state sees the later version too.
class IoBus::Table {
 public:
  explicit Table(std::size_t capacity)
      : capacity_(capacity), slots_(std::make_unique<Slot[]>(capacity)) {}

  std::size_t capacity() const { return capacity_; }

  // REQUIRES: they are sorted and not more than the capacity.
  void Store(std::span<const Mapping> mappings) {
    for (std::size_t i = 0; i < mappings.size(); ++i) {
      slots_[i].base.store(mappings[i].base, std::memory_order_release);
      slots_[i].size.store(mappings[i].size, std::memory_order_release);
      slots_[i].handler.store(mappings[i].handler, std::memory_order_release);
    }
    count_.store(mappings.size(), std::memory_order_release);
  }

  // The last mapping that begins at or below `address`; an empty one if there is none.
  Mapping Search(std::uint64_t address) const {
    std::size_t begin = 0, end = count_.load(std::memory_order_acquire);
    while (begin < end) {
      const std::size_t middle = begin + (end - begin) / 2;
      if (slots_[middle].base.load(std::memory_order_acquire) <= address) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    if (begin == 0) return {};
    const Slot& slot = slots_[begin - 1];
    return {.base = slot.base.load(std::memory_order_acquire),
            .size = slot.size.load(std::memory_order_acquire),
            .handler = slot.handler.load(std::memory_order_acquire)};
  }

 private:
  struct Slot {
    std::atomic<std::uint64_t> base{0};
    std::atomic<std::uint64_t> size{0};
    std::atomic<IoHandler*> handler{nullptr};
  };
  const std::size_t capacity_;
  const std::unique_ptr<Slot[]> slots_;
  std::atomic<std::size_t> count_{0};
};

IoBus::IoBus() {
  const MutexLock lock(mutex_);
  for (std::atomic<Table*>& table : active_) {
    tables_.push_back(std::make_unique<Table>(kFirstCapacity));
    table.store(tables_.back().get(), std::memory_order_release);
  }
}

IoBus::~IoBus() = default;

// ---- writers ------------------------------------------------------------------------------------

const IoBus::Mapping* IoBus::OverlapLocked(std::uint64_t base, std::uint64_t size) const {
  const auto after = std::ranges::upper_bound(mappings_, base, {}, &Mapping::base);
  if (after != mappings_.begin() && base - (after - 1)->base < (after - 1)->size)
    return &*(after - 1);
  if (after != mappings_.end() && after->base - base < size) return &*after;
  return nullptr;
}

void IoBus::InsertLocked(const Mapping& mapping) {
  mappings_.insert(std::ranges::upper_bound(mappings_, mapping.base, {}, &Mapping::base), mapping);
  PublishLocked();
}

Status IoBus::Map(std::uint64_t base, std::uint64_t size, IoHandler* handler) {
  if (Wraps(base, size))
    return InvalidArgument("{}: range {:#x}+{:#x} is empty or wraps", handler->name(), base, size);
  const MutexLock lock(mutex_);
  const Mapping* const other = OverlapLocked(base, size);
  if (other != nullptr) {
    return MakeError(Code::kAlreadyExists,
                     fmt::format("{} at {:#x}+{:#x} overlaps {} at {:#x}+{:#x}", handler->name(),
                                 base, size, other->handler->name(), other->base, other->size));
  }
  InsertLocked({base, size, handler});
  return {};
}

bool IoBus::TryMap(std::uint64_t base, std::uint64_t size, IoHandler* handler) {
  const MutexLock lock(mutex_);
  if (Wraps(base, size) || OverlapLocked(base, size) != nullptr) return false;
  InsertLocked({base, size, handler});
  return true;
}

bool IoBus::Unmap(std::uint64_t base) {
  const MutexLock lock(mutex_);
  const auto found = std::ranges::lower_bound(mappings_, base, {}, &Mapping::base);
  if (found == mappings_.end() || found->base != base) return false;
  mappings_.erase(found);
  PublishLocked();
  return true;
}

void IoBus::PublishLocked() {
  const std::uint64_t next = version_.load(std::memory_order_relaxed) + 1;
  std::atomic<Table*>& active = active_[next % 2];
  Table* table = active.load(std::memory_order_relaxed);
  if (table->capacity() < mappings_.size()) {
    tables_.push_back(std::make_unique<Table>(table->capacity() * 2));
    table = tables_.back().get();
    active.store(table, std::memory_order_release);
  }
  table->Store(mappings_);
  version_.store(next, std::memory_order_release);
}

// ---- readers ------------------------------------------------------------------------------------

IoBus::Mapping IoBus::Find(std::uint64_t address, std::size_t width) const {
  std::uint64_t version = version_.load(std::memory_order_acquire);
  for (;;) {
    const Mapping mapping = active_[version % 2].load(std::memory_order_acquire)->Search(address);
    const std::uint64_t now = version_.load(std::memory_order_acquire);
    if (now == version) {
      const std::uint64_t offset = address - mapping.base;
      return offset < mapping.size && mapping.size - offset >= width ? mapping : Mapping{};
    }
    version = now;
  }
}

bool IoBus::Read(std::uint64_t address, std::span<std::byte> data) const {
  const Mapping mapping = Find(address, data.size());
  if (mapping.handler == nullptr) {
    std::memset(data.data(), 0xff, data.size());
    return false;
  }
  mapping.handler->Read(address - mapping.base, data);
  return true;
}

bool IoBus::Write(std::uint64_t address, std::span<const std::byte> data) const {
  const Mapping mapping = Find(address, data.size());
  if (mapping.handler == nullptr) return false;
  mapping.handler->Write(address - mapping.base, data);
  return true;
}

}  // namespace gemel
