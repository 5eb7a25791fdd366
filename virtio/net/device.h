// The network device (virtio 1.2, section 5.1): NetBackends as a guest's network card, one a pair of
// queues, each pair on a thread of its own.
//
// Offered where the backend can: checksums and segmentation in both directions; always: mergeable
// buffers, status, control queue (receive mode, address, address tables, VLANs, announcement,
// offloads, pairs). Frames are steered to pairs by the host's tap.
//
// Not implemented: RSS and hash reports, notification coalescing, standby, RSC, speed and duplex.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/mac_address.h"
#include "base/permit.h"
#include "base/result.h"
#include "net/interface_counters.h"
#include "net/limiter.h"
#include "net/net_backend.h"
#include "net/vhost_net.h"
#include "virtio/device.h"

namespace gemel::virtio {

struct NetOptions {
  std::string name;  // of the threads and in log lines: "net0"
  MacAddress mac{};
  std::uint16_t mtu = 0;              // 0: not told
  net::RateLimit rx_limit, tx_limit;  // of the whole device, divided among its pairs
  std::vector<std::unique_ptr<net::NetBackend>> backends;  // one a pair, all alike
  // Either none, or one a backend, each able to do what NetVhostNeeds() says (virtio/net/vhost.h); a
  // limit then has no effect.
  std::vector<std::unique_ptr<net::VhostNet>> vhosts;
  // Of the interface, since the kernel does not tell what vhosts have moved; or none.
  std::unique_ptr<net::InterfaceCounters> host_counters;
  const Clock* clock = nullptr;  // outlives the device; none: the system's
  Permit* permit = nullptr;      // outlives the device; not together with vhosts, which never ask
  // When its driver begins, bridges and switches are told where `mac` is (net/announcement.h), which was
  // another host's until now.
  bool announce = false;
};

class NetDevice : public VirtioDevice {
 public:
  // Pulls the cable, or plugs it in: the driver sees it, frames are dropped meanwhile, and the host's
  // end shows no carrier where it can. Any thread.
  virtual void SetLink(bool up) = 0;
  // Whether the cable is in and somebody is at the other end. Any thread.
  virtual bool link_up() const = 0;
  // Name and value, in an order that stays. Any thread.
  virtual std::vector<std::pair<std::string, std::uint64_t>> counters() const = 0;
};

// kInvalidArgument, naming the value, for a number of backends that is not from 1 to 16.
Result<std::unique_ptr<NetDevice>> CreateNet(NetOptions options);

}  // namespace gemel::virtio
