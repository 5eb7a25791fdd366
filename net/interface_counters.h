// How much the host's interface of a guest has moved, from its kernel: the only one who knows it while
// vhost-net serves the queues. Counted from the guest's side, since these counters were made.
//
// Opened by whoever may open files (launch), read in the VM's process, which may not.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace gemel::net {

// The files of the interface behind `tap`, a tap's or macvtap's descriptor, for InterfaceCounters.
// kNotFound where /sys shows another network namespace's.
Result<std::vector<UniqueFd>> OpenInterfaceCounters(int tap);

class InterfaceCounters {
 public:
  static constexpr std::size_t kFiles = 4;
  struct Values {
    std::uint64_t rx_packets = 0, rx_bytes = 0;  // that the guest received
    std::uint64_t tx_packets = 0, tx_bytes = 0;  // that it sent
  };

  // REQUIRES: kFiles files, as OpenInterfaceCounters gives them.
  explicit InterfaceCounters(std::vector<UniqueFd> files);

  // What cannot be read any more, with the interface gone, is as it was last. Any thread.
  Values Read() const;

 private:
  std::uint64_t ReadOne(std::size_t index) const;

  const std::vector<UniqueFd> files_;
  std::array<std::uint64_t, kFiles> first_{};
  mutable std::array<std::atomic<std::uint64_t>, kFiles> last_{};
};

}  // namespace gemel::net
