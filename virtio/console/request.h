// The console's control messages (virtio 1.2, section 5.3.6.2). Pure.
#pragma once
#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "virtio/console/config_space.h"

namespace gemel::virtio {

// What the driver says; empty if the chain is shorter than a message. What follows it is passed
// over: no message of a driver's has more.
std::optional<ConsoleControl> ParseConsoleControl(std::span<const iovec> readable);

// The bytes of a message to the driver; `name` follows a kPortName, without a zero.
std::string EncodeConsoleControl(std::uint32_t port, ConsoleEvent event, std::uint16_t value,
                                 std::string_view name = {});

}  // namespace gemel::virtio
