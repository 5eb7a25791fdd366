// nftables of the network namespace that this thread is in.
#pragma once
#include <memory>
#include <string>

#include "base/result.h"

namespace gemel::hostnet {

class Firewall {
 public:
  virtual ~Firewall() = default;
  // All of the text (hostnet/rules.h) in one transaction, or nothing of it.
  virtual Status Apply(const std::string& rules) = 0;
  // Both tables of this name as the kernel tells them: another text once somebody has changed them.
  // Empty: there are none.
  virtual std::string Read(const std::string& table) = 0;
};

// By libnftables. One thread.
Result<std::unique_ptr<Firewall>> OpenNftables();

}  // namespace gemel::hostnet
