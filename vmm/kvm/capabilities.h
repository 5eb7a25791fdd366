// The KVM capabilities that Gemel asks about, by name. Private to vmm/kvm.
#pragma once
#include <span>

#include "vmm/kvm/ioctl.h"

namespace gemel::kvm {

struct Capability {
  int number = 0;
  const char* name = "";
  bool required = false;
};

std::span<const Capability> KnownCapabilities();

// KVM_CHECK_EXTENSION; 0 for what KVM does not know.
int CheckCapability(int kvm_fd, int capability);

}  // namespace gemel::kvm
