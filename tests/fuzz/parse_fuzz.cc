// The command line's parsers: no word may do more than be refused, and what is accepted has a
// meaning that its own form gives back.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "vmm/config/host_limits.h"
#include "vmm/config/parse.h"

namespace gemel {
namespace {

void ParseAll(std::uint8_t kind, std::string_view text) {
  switch (kind % 8) {
    case 0: {
      const auto size = ParseSize("size", text);
      if (size) CHECK(*ParseSize("size", FormatSize(*size)) == *size);
      if (size) CHECK(!RoughSize(*size).empty());
      return;
    }
    case 1: {
      const auto disk = ParseDisk(text);
      CHECK(!disk || !disk->path.empty());
      return;
    }
    case 2:
      return static_cast<void>(ParseMemory(text));
    case 3: {
      const auto serial = ParseSerial(text);
      using Kind = SerialConfig::Kind;
      if (serial)
        CHECK(serial->path.empty() != (serial->kind == Kind::kFile || serial->kind == Kind::kUnix));
      return;
    }
    case 4: {
      const auto duration = ParseDuration("time", text);
      CHECK(!duration || *duration > 0);
      return;
    }
    case 5:
      if (const auto balloon = ParseBalloon(text); balloon && *balloon)
        static_cast<void>(ValidateBalloon(**balloon, 1 << 30));
      if (const auto vsock = ParseVsock(text)) static_cast<void>(ValidateVsock(*vsock));
      if (const auto console = ParseConsole(text)) static_cast<void>(ValidateConsole(*console));
      if (const auto channel = ParseChannel(text))
        static_cast<void>(ValidateChannels({*channel, *channel}));
      return static_cast<void>(ParseMeminfo(text));
    case 6: {
      const auto net = ParseNet(text);
      CHECK(!net || Validate(*net));
      const auto mac = ParseMac("mac", text);
      if (mac) CHECK(*ParseMac("mac", FormatMac(*mac)) == *mac);
      return;
    }
    default:
      static_cast<void>(ParseNumber("n", text, 1, 64));
      static_cast<void>(ParseOnReboot(text));
  }
}

}  // namespace
}  // namespace gemel

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // SAFETY: bytes as chars, within the fuzzer's buffer.
  gemel::ParseAll(data[0], std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}
