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

NodeId MustBeProvedOff(NodeId me, const Ownership& record, std::uint64_t incarnation,
                       std::span<const PeerSession> peers) {
  const Issuer last = LastIssuer(record);
  const Epoch recorded = last.node == 0 ? record.epoch : last.epoch;
  if (recorded.incarnation < incarnation) {
    for (const PeerSession& peer : peers)
      if (peer.record.id.incarnation < incarnation && peer.record.off == OffBy::kNobody)
        return peer.node;
    return 0;
  }
  if (last.node == me) return 0;
  for (const PeerSession& peer : peers)
    if (peer.node == last.node && ProvesOff(peer.record, last.session)) return 0;
  return last.node;
}

}  // namespace gemel::cluster
