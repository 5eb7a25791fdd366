// /proc/sys/net of the network namespace that this thread is in, and the one setting of the host's
// there that networks with NAT change: whether it forwards IPv4.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace gemel::hostnet {

class Sysctls {
 public:
  virtual ~Sysctls() = default;
  // "ipv4/ip_forward"; without the newline. kNotFound if there is none.
  virtual Result<std::string> Read(const std::string& name) = 0;
  virtual Status Write(const std::string& name, const std::string& value) = 0;
  // Names in a folder such as "ipv4/conf".
  virtual Result<std::vector<std::string>> List(const std::string& folder) = 0;
};

std::unique_ptr<Sysctls> SystemSysctls();

// Another one after each start of the host.
std::string BootId();

// Turns forwarding on while it is needed and puts everything back that this changes: the kernel sets
// it for each interface along with the whole, and redirects the other way. What was before stands in
// a file, durably, before anything changes. Where forwarding was on already nothing is touched, now or
// later. (Another program that relies on our having turned it on loses it when the last network with
// NAT goes.)
class Forwarding {
 public:
  // `boot`: BootId(). What another life of the host left in the record means nothing to this one.
  Forwarding(Sysctls* sysctls, std::string record, std::string boot)
      : sysctls_(sysctls), record_(std::move(record)), boot_(std::move(boot)) {}

  Status Need();
  Status Restore();

 private:
  Result<std::string> Snapshot();

  Sysctls* sysctls_;
  std::string record_;
  std::string boot_;
};

}  // namespace gemel::hostnet
