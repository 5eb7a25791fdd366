// What a program on the host says first on the VM's socket to reach a port of the guest, as with
// Firecracker and Cloud Hypervisor: "CONNECT <port>\n", answered by "OK <port of the host>\n". Pure.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gemel::virtio {

// Longer than any good line: "CONNECT 4294967295\n" has 19 bytes.
inline constexpr std::size_t kMaxGreeting = 32;

struct VsockGreeting {
  enum class State : std::uint8_t {
    kIncomplete,  // no end of line yet
    kBad,         // not a greeting, or too long
    kGood,
  };
  State state = State::kIncomplete;
  std::uint32_t port = 0;  // kGood
  std::size_t length = 0;  // kGood: bytes up to the end of the line; what follows is the guest's
};

// `text` is what has come so far, at most kMaxGreeting bytes of it.
VsockGreeting ParseVsockGreeting(std::string_view text);

}  // namespace gemel::virtio
