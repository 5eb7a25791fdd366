// virtio-mmio (virtio 1.2, 4.2). Devices are on the command line, as Linux takes them:
// "virtio_mmio.device=4K@0xd0000000:16". Gemel and QEMU's microvm put them there without ACPI.
#include "tests/guests/bench/device.h"
#include "virtio/transport/mmio_registers.h"

namespace bench {
namespace {

namespace mmio = gemel::virtio::mmio;

// A number at `at`, which moves behind it.
std::uint64_t ParseNumber(const char*& at) {
  std::uint64_t base = 10, value = 0;
  if (at[0] == '0' && at[1] == 'x') {
    base = 16;
    at += 2;
  }
  for (;; ++at) {
    const char lower = static_cast<char>(*at | 0x20);
    if (*at >= '0' && *at <= '9') {
      value = value * base + static_cast<std::uint64_t>(*at - '0');
    } else if (base == 16 && lower >= 'a' && lower <= 'f') {
      value = value * base + static_cast<std::uint64_t>(lower - 'a' + 10);
    } else {
      return value;
    }
  }
}

// Moves `at` behind the next `word`; false if there is none.
bool Skip(const char*& at, const char* word) {
  for (; *at != 0; ++at) {
    std::size_t n = 0;
    while (word[n] != 0 && at[n] == word[n]) ++n;
    if (word[n] == 0) {
      at += n;
      return true;
    }
  }
  return false;
}

Registers RegistersAt(std::uint64_t base) {
  const auto at = [base](mmio::Register offset) { return Register{base + offset, 4}; };
  return {
      .device_features = at(mmio::kDeviceFeatures),
      .device_features_select = at(mmio::kDeviceFeaturesSel),
      .driver_features = at(mmio::kDriverFeatures),
      .driver_features_select = at(mmio::kDriverFeaturesSel),
      .status = at(mmio::kStatus),
      .queue_select = at(mmio::kQueueSel),
      .queue_max = at(mmio::kQueueNumMax),
      .queue_size = at(mmio::kQueueNum),
      .queue_enable = at(mmio::kQueueReady),
      .descriptors_low = at(mmio::kQueueDescLow),
      .descriptors_high = at(mmio::kQueueDescHigh),
      .driver_low = at(mmio::kQueueDriverLow),
      .driver_high = at(mmio::kQueueDriverHigh),
      .device_low = at(mmio::kQueueDeviceLow),
      .device_high = at(mmio::kQueueDeviceHigh),
      .queue_vector = {},
      .queue_notify_offset = {},
      .interrupt_status = at(mmio::kInterruptStatus),
      .interrupt_ack = at(mmio::kInterruptAck),
      .notify = at(mmio::kQueueNotify),
      .config = base + mmio::kConfig,
  };
}

// Puts the device at `base` into `found` if it is one of `type`.
bool Look(std::uint64_t base, std::uint32_t pin, Type type, Device& found) {
  if (guest::Read<std::uint32_t>(base + mmio::kMagicValue) != mmio::kMagic) return false;
  if (guest::Read<std::uint32_t>(base + mmio::kVersionRegister) != mmio::kVersion) return false;
  if (guest::Read<std::uint32_t>(base + mmio::kDeviceId) != static_cast<std::uint32_t>(type))
    return false;
  found.transport = "mmio";
  found.registers = RegistersAt(base);
  found.interrupt_pin = pin;
  return true;
}

}  // namespace

Device FindMmioDevice(Type type) {
  Device found;
  const char* at = guest::CommandLine();
  while (Skip(at, "virtio_mmio.device=")) {
    if (!Skip(at, "@")) break;
    const std::uint64_t base = ParseNumber(at);
    if (*at++ != ':') break;
    if (Look(base, static_cast<std::uint32_t>(ParseNumber(at)), type, found)) return found;
  }
  return found;
}

}  // namespace bench
