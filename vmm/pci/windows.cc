#include "vmm/pci/windows.h"

#include <algorithm>

namespace gemel::pci {

Windows::Windows() = default;

Windows::~Windows() {
  for (const auto& window : windows_) Unmap(window.get());
}

Windows::Window* Windows::Add(IoBus* bus, IoHandler* handler, Observer* observer) {
  windows_.push_back(std::make_unique<Window>());
  Window* const window = windows_.back().get();
  window->bus = bus;
  window->handler = handler;
  window->observer = observer;
  return window;
}

void Windows::Remove(Window* window) {
  Hide(window);
  std::erase_if(windows_, [&](const auto& owned) { return owned.get() == window; });
}

void Windows::Place(Window* window, std::uint64_t base, std::uint64_t size) {
  if (window->wanted && window->base == base && window->size == size) return;
  Unmap(window);
  window->wanted = true;
  window->base = base;
  window->size = size;
  MapAll();
}

void Windows::Hide(Window* window) {
  if (!window->wanted) return;
  Unmap(window);
  window->wanted = false;
  MapAll();
}

bool Windows::IsMapped(const Window* window) { return window->mapped; }

void Windows::Unmap(Window* window) {
  if (!window->mapped) return;
  if (window->observer != nullptr) window->observer->OnUnmapped(window->base);
  window->bus->Unmap(window->base);
  window->mapped = false;
}

void Windows::MapAll() {
  for (const auto& window : windows_) {
    if (!window->wanted || window->mapped) continue;
    window->mapped = window->bus->TryMap(window->base, window->size, window->handler);
    if (window->mapped && window->observer != nullptr) window->observer->OnMapped(window->base);
  }
}

}  // namespace gemel::pci
