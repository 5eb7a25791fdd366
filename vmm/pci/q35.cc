#include "vmm/pci/q35.h"

#include <utility>

#include "base/check.h"
#include "vmm/pci/root_port.h"

namespace gemel::pci {

Q35::Q35(const Wiring& wiring)
    : ports_bus_(wiring.ports),
      root_(wiring.memory, wiring.ports, wiring.lines),
      ports_(&root_, wiring.reset) {}

Q35::~Q35() {
  if (ports_mapped_) ports_bus_->Unmap(ConfigPorts::kFirstPort);
}

Result<std::unique_ptr<Q35>> Q35::Create(const Wiring& wiring) {
  std::unique_ptr<Q35> q35(new Q35(wiring));
  RETURN_IF_ERROR(wiring.ports->Map(ConfigPorts::kFirstPort, ConfigPorts::kPorts, &q35->ports_));
  q35->ports_mapped_ = true;
  Root& root = q35->root_;
  RETURN_IF_ERROR(
      root.Attach(MakeDevfn(0, 0),
                  std::make_unique<HostBridge>(&root, wiring.memory, &q35->ecam_, wiring.events)));
  for (unsigned i = 0; i < kRootPorts; ++i)
    RETURN_IF_ERROR(root.Attach(MakeDevfn(kRootPortDevice, i), std::make_unique<RootPort>(i)));
  RETURN_IF_ERROR(root.Attach(LpcBridge::kDevfn, std::make_unique<LpcBridge>(LpcBridge::Wiring{
                                                     .root = &root,
                                                     .memory = wiring.memory,
                                                     .ports = wiring.ports,
                                                     .pm = wiring.pm,
                                                     .pm_size = wiring.pm_size})));
  return q35;
}

Status Q35::Attach(unsigned device, std::unique_ptr<Function> function) {
  if (device < kFirstDevice || device > kLastDevice)
    return InvalidArgument("PCI device {}: {}: only {} to {} are free", device, function->name(),
                           kFirstDevice, kLastDevice);
  return root_.Attach(MakeDevfn(device, 0), std::move(function));
}

void Q35::Reset() {
  ports_.Reset();
  root_.Reset();
}

Status Q35::Program(const Layout& layout) {
  RETURN_IF_ERROR(AssignResources(root_, layout.resources));
  const auto host = [](std::size_t offset) {
    return ConfigAddress{.bus = 0, .devfn = {}, .offset = static_cast<std::uint16_t>(offset)};
  };
  const auto lpc = [](std::size_t offset) {
    return ConfigAddress{
        .bus = 0, .devfn = LpcBridge::kDevfn, .offset = static_cast<std::uint16_t>(offset)};
  };
  root_.Set(host(HostBridge::kPciExBar + 4), static_cast<std::uint32_t>(layout.ecam >> 32));
  root_.Set(host(HostBridge::kPciExBar),
            static_cast<std::uint32_t>(layout.ecam | HostBridge::kPciExBarEnable));
  root_.Set(host(HostBridge::kPam), std::uint8_t{0x30});
  for (std::size_t i = 1; i < PamRegisters{}.size(); ++i)
    root_.Set(host(HostBridge::kPam + i), std::uint8_t{0x33});
  root_.Set(lpc(LpcBridge::kPmBase), std::uint32_t{layout.pm_base});
  root_.Set(lpc(LpcBridge::kAcpiControl), LpcBridge::kAcpiEnable);
  return {};
}

}  // namespace gemel::pci
