// Carries out what cluster::StorageClaim wants of a machine's disks: one command on all of them, and one
// answer of all, which is never better than the worst.
//
// A machine's disks are claimed together: our key counts as registered, and as the holder, only if it is
// so on each; a key of another counts if it is on any.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "block/iscsi/reservation.h"
#include "cluster/storage_claim.h"

namespace gemel::storage {

// A disk that can refuse, as far as a claim needs it: block::IscsiDisk, or the way to one in another
// process. One command at a time; `done` is called once, later or at once.
class ReservationPort {
 public:
  using Done = std::function<void(block::ReservationAnswer)>;
  virtual ~ReservationPort() = default;
  virtual void Reserve(const block::ReservationCommand& command, Done done) = 0;
};

// One command to several disks at once. The caller's thread, on which the ports answer.
class ClaimDriver {
 public:
  using Done = std::function<void(const cluster::StorageAnswer& answer, const std::string& note)>;

  // The ports outlive it. A machine without disks that can refuse has no driver.
  explicit ClaimDriver(std::vector<ReservationPort*> ports) : ports_(std::move(ports)) {}

  // REQUIRES: the one before was answered; not kNone. `note` says, for a person, why an answer is
  // unknown. An answer that comes after this driver is gone is dropped.
  void Execute(const cluster::StorageCommand& command, Done done);

 private:
  struct Round;
  static void Finish(Round& round);

  const std::vector<ReservationPort*> ports_;
  std::shared_ptr<Round> round_;
};

// What the answers of all disks are together. Keys that are not Gemel's make it unknown, and so do more
// than cluster::StorageAnswer has room for.
cluster::StorageAnswer Merge(const cluster::StorageCommand& command,
                             const std::vector<block::ReservationAnswer>& answers,
                             std::string* note);

}  // namespace gemel::storage
