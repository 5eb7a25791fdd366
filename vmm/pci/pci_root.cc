#include "vmm/pci/pci_root.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace gemel::pci {

Root::Root(IoBus* memory, IoBus* ports, IrqLines* lines)
    : memory_(memory), ports_(ports), intx_(lines) {}

Root::~Root() {
  const MutexLock lock(mutex_);
  for (const auto& function : functions_) {
    if (function != nullptr) function->Disconnect();
  }
}

Status Root::Attach(Devfn devfn, std::unique_ptr<Function> function) {
  std::unique_ptr<Function>& place = functions_[devfn.value];
  if (place != nullptr) {
    return MakeError(Code::kAlreadyExists,
                     fmt::format("PCI {:02x}.{}: {}: {} is there", devfn.device(), devfn.function(),
                                 function->name(), place->name()));
  }
  const MutexLock lock(mutex_);
  place = std::move(function);
  place->Connect(devfn, &windows_, &intx_, memory_, ports_);
  return {};
}

Function* Root::Find(const ConfigAddress& address) const {
  return address.bus == 0 ? functions_[address.devfn.value].get() : nullptr;
}

void Root::ReadConfig(ConfigAddress address, std::span<std::byte> data) {
  CHECK(address.offset < ConfigSpace::kSize && ConfigSpace::kSize - address.offset >= data.size());
  Function* const function = Find(address);
  if (function == nullptr) {
    std::ranges::fill(data, std::byte{0xff});
    return;
  }
  const MutexLock lock(mutex_);
  function->ReadConfig(address.offset, data);
}

void Root::WriteConfig(ConfigAddress address, std::span<const std::byte> data) {
  CHECK(address.offset < ConfigSpace::kSize && ConfigSpace::kSize - address.offset >= data.size());
  Function* const function = Find(address);
  if (function == nullptr) return;
  const MutexLock lock(mutex_);
  function->WriteConfig(address.offset, data);
}

void Root::Reset() {
  const MutexLock lock(mutex_);
  for (const auto& function : functions_) {
    if (function != nullptr) function->Reset();
  }
}

}  // namespace gemel::pci
