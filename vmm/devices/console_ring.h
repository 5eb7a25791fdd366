// The last bytes of a stream that has no end, numbered from 0. Not thread-safe.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

namespace gemel {

class ConsoleRing {
 public:
  // Its memory becomes resident as it is first written to.
  explicit ConsoleRing(std::size_t capacity)
      : capacity_(capacity), bytes_(std::make_unique_for_overwrite<std::byte[]>(capacity)) {}

  std::uint64_t end() const { return end_; }  // of the next byte
  std::uint64_t begin() const { return end_ - std::min<std::uint64_t>(end_, capacity_); }

  void Append(std::span<const std::byte> bytes) {
    if (bytes.size() > capacity_) {
      end_ += bytes.size() - capacity_;
      bytes = bytes.last(capacity_);
    }
    const std::size_t at = end_ % capacity_;
    const std::size_t first = std::min(bytes.size(), capacity_ - at);
    std::memcpy(bytes_.get() + at, bytes.data(), first);
    if (first < bytes.size()) std::memcpy(bytes_.get(), bytes.data() + first, bytes.size() - first);
    end_ += bytes.size();
  }

  // Copies what begins at number `from`, as much as there is and fits; how much. REQUIRES: from is
  // in [begin, end].
  std::size_t Copy(std::uint64_t from, std::span<std::byte> out) const {
    const std::size_t size =
        static_cast<std::size_t>(std::min<std::uint64_t>(end_ - from, out.size()));
    const std::size_t at = from % capacity_;
    const std::size_t first = std::min(size, capacity_ - at);
    if (first > 0) std::memcpy(out.data(), bytes_.get() + at, first);
    if (first < size) std::memcpy(out.data() + first, bytes_.get(), size - first);
    return size;
  }

 private:
  const std::size_t capacity_;
  const std::unique_ptr<std::byte[]> bytes_;
  std::uint64_t end_ = 0;
};

}  // namespace gemel
