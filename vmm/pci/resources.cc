#include "vmm/pci/resources.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vmm/pci/chipset.h"

namespace gemel::pci {
namespace {

// Something that wants an aligned piece of a range, and what to do with the piece.
struct Request {
  std::string name;
  std::uint64_t size;
  std::function<void(std::uint64_t base)> place;
  bool optional = false;
};

// Largest first, so that no alignment wastes anything; else in their order.
Status Place(const std::vector<Request>& requests, AddressRange range, std::string_view what) {
  std::vector<std::pair<std::uint64_t, std::size_t>> order;  // UINT64_MAX - size, index
  order.reserve(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i)
    order.emplace_back(UINT64_MAX - requests[i].size, i);
  std::ranges::sort(order);
  for (const auto& [unused, index] : order) {
    const Request& request = requests[index];
    const std::uint64_t skipped = -range.base & (request.size - 1);
    const bool fits = range.size >= skipped && range.size - skipped >= request.size;
    if (!fits && request.optional) continue;
    if (!fits)
      return MakeError(Code::kResourceExhausted, fmt::format("{}: no room for {:#x} bytes of {}",
                                                             request.name, request.size, what));
    request.place(range.base + skipped);
    range.base += skipped + request.size;
    range.size -= skipped + request.size;
  }
  return {};
}

class Assigner {
 public:
  explicit Assigner(Root& root) : root_(root) {}

  Status Run(const Resources& resources) {
    for (unsigned i = 0; i < 256; ++i) {
      const Devfn devfn{static_cast<std::uint8_t>(i)};
      const Function* const function = root_.function(devfn);
      if (function == nullptr) continue;
      CollectBars(devfn, *function);
      if (function->is_bridge()) CollectWindows(devfn, *function);
      SetInterruptLine(devfn);
    }
    RouteToPics();
    RETURN_IF_ERROR(Place(io_, resources.io, "I/O ports"));
    RETURN_IF_ERROR(Place(memory32_, resources.memory32, "memory below 4 GiB"));
    return Place(memory64_, resources.memory64, "memory");
  }

 private:
  template <class T>
  void Set(Devfn devfn, std::size_t offset, std::uint64_t value) {
    root_.Set(At(devfn, offset), static_cast<T>(value));
  }
  static ConfigAddress At(Devfn devfn, std::size_t offset) {
    return {.bus = 0, .devfn = devfn, .offset = static_cast<std::uint16_t>(offset)};
  }

  void CollectBars(Devfn devfn, const Function& function) {
    for (unsigned i = 0; i < Function::kBars; ++i) {
      const auto bar = function.bar(i);
      if (!bar) continue;
      const std::size_t at = BarOffset(i);
      const std::string name = fmt::format("{}: BAR {}", function.name(), i);
      if (bar->kind == BarKind::kIo || bar->kind == BarKind::kMemory32) {
        auto& requests = bar->kind == BarKind::kIo ? io_ : memory32_;
        requests.push_back({name, bar->size, [this, devfn, at](std::uint64_t base) {
                              Set<std::uint32_t>(devfn, at, base);
                            }});
        continue;
      }
      memory64_.push_back({name, bar->size, [this, devfn, at](std::uint64_t base) {
                             Set<std::uint32_t>(devfn, at, base);
                             Set<std::uint32_t>(devfn, at + 4, base >> 32);
                           }});
    }
  }

  // A window whose base is above its limit is closed (PCI-to-PCI Bridge 1.2, 3.2.5.6).
  void CollectWindows(Devfn devfn, const Function& function) {
    const std::uint8_t bus = ++last_bus_;
    Set<std::uint8_t>(devfn, kSecondaryBus, bus);
    Set<std::uint8_t>(devfn, kSubordinateBus, bus);
    Set<std::uint8_t>(devfn, kIoBase, 0xf0);
    Set<std::uint8_t>(devfn, kIoLimit, 0);
    const std::string name = function.name() + ": window";
    io_.push_back({name, kPortIoWindow,
                   [this, devfn](std::uint64_t base) {
                     Set<std::uint8_t>(devfn, kIoBase, base >> 8);
                     Set<std::uint8_t>(devfn, kIoLimit, (base + kPortIoWindow - 1) >> 8);
                   },
                   true});
    memory32_.push_back({name, kPortMemoryWindow, [this, devfn](std::uint64_t base) {
                           Set<std::uint16_t>(devfn, kMemoryBase, base >> 16);
                           Set<std::uint16_t>(devfn, kMemoryLimit,
                                              (base + kPortMemoryWindow - 1) >> 16);
                         }});
    memory64_.push_back({name, kPortPrefetchableWindow, [this, devfn](std::uint64_t base) {
                           const std::uint64_t limit = base + kPortPrefetchableWindow - 1;
                           Set<std::uint16_t>(devfn, kPrefetchableBase, base >> 16);
                           Set<std::uint16_t>(devfn, kPrefetchableLimit, limit >> 16);
                           Set<std::uint32_t>(devfn, kPrefetchableBaseHigh, base >> 32);
                           Set<std::uint32_t>(devfn, kPrefetchableLimitHigh, limit >> 32);
                         }});
  }

  void SetInterruptLine(Devfn devfn) {
    const auto pin = root_.Get<std::uint8_t>(At(devfn, kInterruptPin));
    if (pin == 0) return;
    Set<std::uint8_t>(devfn, kInterruptLine, PicIrqOf(PirqOf(devfn.device(), pin - 1u)));
  }

  void RouteToPics() {
    if (root_.function(LpcBridge::kDevfn) == nullptr) return;
    for (unsigned i = 0; i < 4; ++i) {
      Set<std::uint8_t>(LpcBridge::kDevfn, LpcBridge::kPirqA + i, PicIrqOf(i));
      Set<std::uint8_t>(LpcBridge::kDevfn, LpcBridge::kPirqE + i, PicIrqOf(i));
    }
  }

  Root& root_;
  std::vector<Request> io_, memory32_, memory64_;
  std::uint8_t last_bus_ = 0;
};

}  // namespace

Status AssignResources(Root& root, const Resources& resources) {
  return Assigner(root).Run(resources);
}

}  // namespace gemel::pci
