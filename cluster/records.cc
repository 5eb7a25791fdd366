#include "cluster/records.h"

namespace gemel::cluster {
namespace {

constexpr std::uint64_t kMark = 0x6D;

}  // namespace

std::uint64_t EncodeStorageKey(const StorageKey& key) {
  const bool fits = key.node > 0 && key.node <= 0xFF && key.epoch.incarnation <= 0xFFFF &&
                    key.epoch.counter <= 0xFFFF'FFFF;
  if (!fits) return 0;
  return kMark << 56 | static_cast<std::uint64_t>(key.node) << 48 | key.epoch.incarnation << 32 |
         key.epoch.counter;
}

StorageKey DecodeStorageKey(std::uint64_t bytes) {
  if (bytes >> 56 != kMark) return {};
  return {static_cast<NodeId>(bytes >> 48 & 0xFF), {bytes >> 32 & 0xFFFF, bytes & 0xFFFF'FFFF}};
}

}  // namespace gemel::cluster
