#include "vmm/devices/i8042.h"

#include "base/load_le.h"

namespace gemel {
namespace {

constexpr std::uint64_t kData = 0;
constexpr std::uint64_t kCommand = 4;
constexpr std::uint8_t kOutputBufferFull = 1 << 0;
constexpr std::uint8_t kPulseReset = 0xfe;

}  // namespace

void I8042::Read(std::uint64_t offset, std::span<std::byte> data) {
  const std::uint8_t value = offset == kCommand ? kOutputBufferFull : offset == kData ? 0xff : 0;
  StoreRegister(data, value);
}

void I8042::Write(std::uint64_t offset, std::span<const std::byte> data) {
  if (offset == kCommand && data[0] == std::byte{kPulseReset}) events_->OnReset();
}

}  // namespace gemel
