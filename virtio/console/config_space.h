// The console device's wire formats (virtio 1.2, sections 5.3.2 to 5.3.6): feature bits, queues,
// configuration space, control messages. All little-endian.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gemel::virtio {

// Feature bits (5.3.3).
inline constexpr std::uint64_t kConsoleFeatureMultiport = 1ull << 1;

// Queue numbers (5.3.2): port 0 has 0 and 1, then come the two of control messages, then the other
// ports' pairs. "Receive" is the driver's word.
inline constexpr std::uint16_t kConsoleControlRxQueue = 2;
inline constexpr std::uint16_t kConsoleControlTxQueue = 3;
constexpr std::uint16_t ConsoleRxQueue(std::uint32_t port) {
  return static_cast<std::uint16_t>(port == 0 ? 0 : 2 + 2 * port);
}

// struct virtio_console_config (5.3.4).
struct [[gnu::packed]] ConsoleConfigSpace {
  std::uint16_t columns;  // of a feature that we do not offer
  std::uint16_t rows;
  std::uint32_t max_ports;
  std::uint32_t emergency_write;  // the same
};
static_assert(offsetof(ConsoleConfigSpace, max_ports) == 4);
static_assert(sizeof(ConsoleConfigSpace) == 12);

// struct virtio_console_control (5.3.6.2).
struct [[gnu::packed]] ConsoleControl {
  std::uint32_t port;
  std::uint16_t event;
  std::uint16_t value;
};
static_assert(sizeof(ConsoleControl) == 8);

enum class ConsoleEvent : std::uint16_t {
  kDeviceReady = 0,  // driver: 1 if it can do with several ports
  kDeviceAdd = 1,    // device: there is a port
  kDeviceRemove = 2,
  kPortReady = 3,    // driver: 1 if it has made the port
  kConsolePort = 4,  // device: this one is a console
  kResize = 5,
  kPortOpen = 6,  // both: 1 if a program has the port open
  kPortName = 7,  // device: the name follows
};

}  // namespace gemel::virtio
