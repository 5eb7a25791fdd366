// A disk with persistent reservations, or one that has them in name only. A write is (nexus, epoch),
// which is a key; what the disk says to it is all that matters of a write.
#pragma once
#include <array>
#include <cstdint>
#include <tuple>

#include "cluster/storage_claim.h"

namespace gemel::explorer {

enum class StorageKind : std::uint8_t {
  kExclusive,    // type Exclusive Access: the holder alone may write
  kRegistrants,  // what the types "registrants only" do: whoever is registered may write
  kForgetful,    // Exclusive Access, but a restart forgets it all (tgt; LIO without APTPL)
  kAccepting,    // answers like kExclusive, and accepts every write
  kMute,         // a plain file: nobody is asked (MuteAnswer), and it accepts every write
};

struct Storage {
  static constexpr std::size_t kKeys = 6;
  std::array<cluster::StorageKey, kKeys> keys;  // sorted; node 0 at the end
  cluster::StorageKey holder;
  auto fields() { return std::tie(keys, holder); }

  cluster::StorageAnswer Execute(const cluster::StorageCommand& command);
  bool Accepts(StorageKind kind, const cluster::StorageKey& key) const;
  void Register(const cluster::StorageKey& key);
  bool Has(const cluster::StorageKey& key) const;

 private:
  void Remove(const cluster::StorageKey& key);
};

// What gemeld answers for such a disk.
cluster::StorageAnswer MuteAnswer(const cluster::StorageCommand& command);

}  // namespace gemel::explorer
