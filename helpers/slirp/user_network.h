// The network that a guest sees through gemel-slirp: libslirp between its frames and sockets of the
// host. NAT, DHCP, a name server, forwarded ports; no TFTP, no SMB, no guestfwd.
//
// One thread. libslirp is C and parses what a hostile guest sends: Confine() before Run().
#pragma once
#include <libslirp.h>
#include <poll.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/result.h"
#include "helpers/slirp/guest_link.h"
#include "vmm/config/net_config.h"

namespace gemel::usernet {

class UserNetwork {
 public:
  // Makes the network and listens at the host's forwarded ports; the error names the forward. `net`
  // is of kind kUser and has passed Validate.
  static Result<std::unique_ptr<UserNetwork>> Create(const NetConfig& net, GuestLink link);
  ~UserNetwork();
  UserNetwork(const UserNetwork&) = delete;
  UserNetwork& operator=(const UserNetwork&) = delete;

  // Serves until the VM closes its end.
  void Run();

 private:
  // libslirp knows one: router advertisements of IPv6.
  struct Timer {
    SlirpTimerCb callback = nullptr;
    void* opaque = nullptr;
    std::int64_t expires_ms = -1;  // -1: not set
  };

  explicit UserNetwork(GuestLink link) : link_(std::move(link)) {}
  Status Start(const NetConfig& net);
  Status AddForward(const HostForward& forward);
  bool ReceiveFrames();  // false: the VM has ended
  void RunTimers();
  int TimeoutMs(std::uint32_t wanted) const;
  int AddPoll(int fd, int events);

  static const SlirpCb kCallbacks;
  static UserNetwork* Self(void* opaque) { return static_cast<UserNetwork*>(opaque); }

  GuestLink link_;
  std::map<Timer*, std::unique_ptr<Timer>> timers_;
  std::vector<pollfd> polled_;  // [0] is the link
  struct Cleanup {
    void operator()(Slirp* slirp) const { slirp_cleanup(slirp); }
  };
  std::unique_ptr<Slirp, Cleanup> slirp_;  // last: its end calls back
};

}  // namespace gemel::usernet
