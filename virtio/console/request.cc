#include "virtio/console/request.h"

#include <cstring>

#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {

std::optional<ConsoleControl> ParseConsoleControl(std::span<const iovec> readable) {
  ConsoleControl control;
  if (CopyFromIov(readable, 0, std::as_writable_bytes(std::span(&control, 1))) != sizeof control)
    return std::nullopt;
  return control;
}

std::string EncodeConsoleControl(std::uint32_t port, ConsoleEvent event, std::uint16_t value,
                                 std::string_view name) {
  const ConsoleControl control{port, static_cast<std::uint16_t>(event), value};
  std::string bytes(sizeof control, '\0');
  std::memcpy(bytes.data(), &control, sizeof control);
  bytes += name;
  return bytes;
}

}  // namespace gemel::virtio
