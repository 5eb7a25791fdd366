// The memory balloon (virtio 1.2, section 5.5): takes RAM that the guest can do without and gives
// it back to the host. Pages that the guest puts into the balloon, and pages that it reports as
// free, read as zero afterwards and cost nothing until they are used again.
//
// RAM of reserved huge pages is never given back: the reservation would go with it.
//
// Not implemented: free page hinting (live migration brings it), page poisoning (a driver that
// needs it does not report free pages then).
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "virtio/balloon/request.h"
#include "virtio/device.h"

namespace gemel::virtio {

struct BalloonState {
  std::uint64_t target = 0;             // bytes that the guest is asked to give up
  std::uint64_t actual = 0;             // bytes that it says it has given up
  std::uint64_t reported = 0;           // bytes reported as free, ever, since the driver started
  BalloonStatistics statistics;         // as last told
  std::int64_t statistics_age_ms = -1;  // -1: never told
};

// What the machine's owner does with a balloon. Any thread; nothing waits for the guest.
class BalloonControl {
 public:
  virtual ~BalloonControl() = default;
  // Rounded down to whole pages, at most 16 TiB. The guest takes its time, and may never get there.
  virtual void SetTarget(std::uint64_t bytes) = 0;
  // What is known; asks the guest for newer statistics, which a later call has.
  virtual BalloonState Poll() = 0;
};

struct BalloonOptions {
  std::string name;  // for log lines and the worker's thread: "balloon0"
  std::uint64_t target = 0;
  bool deflate_on_oom = true;
  bool free_page_reporting = true;
};

struct Balloon {
  std::unique_ptr<VirtioDevice> device;
  BalloonControl* control = nullptr;  // lives as long as the device
};

Result<Balloon> CreateBalloon(const BalloonOptions& options);

}  // namespace gemel::virtio
