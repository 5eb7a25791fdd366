// What a driver asks of a network device on its control queue (virtio 1.2, section 5.1.6.5), carried
// out on plain data. Pure.
//
// Not implemented: RSS and hash reports (kMq, commands 1 and 2), notification coalescing.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "base/mac_address.h"
#include "net/net_backend.h"
#include "net/rx_filter.h"
#include "virtio/net/config_space.h"

namespace gemel::virtio {

// What a driver has set; each pair of queues works by a copy of it.
struct NetSettings {
  net::RxFilter filter;
  std::uint16_t pairs = 1;             // that the driver uses
  net::Offloads receive_offloads = 0;  // what received frames may leave undone
  bool link_announced = false;         // the driver has seen kNetStatusAnnounce

  // As a driver that negotiated `features` finds them.
  static NetSettings Fresh(std::uint64_t features, const MacAddress& mac);
};

// Offloads in feature bits: those of received frames, and those of sent ones.
net::Offloads ReceiveOffloads(std::uint64_t features);
net::Offloads TransmitOffloads(std::uint64_t features);

struct NetControlLimits {
  std::uint64_t features = 0;  // negotiated
  std::uint16_t max_pairs = 1;
};

// Carries out one command on `settings`, which stays as it was after an error. A command whose
// feature was not negotiated, that is cut short, or that asks for what cannot be, is one.
NetControlAck ApplyNetControl(std::span<const iovec> command, const NetControlLimits& limits,
                              NetSettings& settings);

}  // namespace gemel::virtio
