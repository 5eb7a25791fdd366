#include "vmm/kvm/irq_routing.h"

#include "vmm/arch/x86/layout.h"

namespace gemel::kvm {
namespace {

constexpr std::uint32_t kTimer = 0;
constexpr std::uint32_t kTimerPin = 2;
constexpr std::uint32_t kCascade = 2;
constexpr std::uint32_t kPicPins = 8;

}  // namespace

std::vector<IrqRoute> PcIrqRoutes() {
  using enum IrqRoute::Target;
  std::vector<IrqRoute> routes;
  for (std::uint32_t gsi = 0; gsi < x86::kIoApicPins; ++gsi) {
    if (gsi == kCascade) continue;
    if (gsi < kPicPins) routes.push_back({gsi, kMasterPic, gsi});
    if (gsi >= kPicPins && gsi < 2 * kPicPins) routes.push_back({gsi, kSlavePic, gsi - kPicPins});
    routes.push_back({gsi, kIoApic, gsi == kTimer ? kTimerPin : gsi});
  }
  return routes;
}

}  // namespace gemel::kvm
