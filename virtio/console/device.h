// The console device (virtio 1.2, section 5.3): a console and named channels between programs of
// guest and host, each a port.
//
//  * Port 0 is the console (hvc0), if there is one; a guest without multiport knows it alone.
//  * A channel's port appears as /dev/virtio-ports/NAME. The guest learns when a client on the host
//    connects and leaves; what clients send waits in their socket until a program in the guest has
//    the port open.
//
// Nothing is buffered here: what the guest writes stays in its own memory until the host takes it,
// so that a slow reader loses nothing and costs nothing. (A Linux guest's CPU spins while its
// console waits, as with a serial port.) What is written while nobody is connected is lost.
//
// Not implemented: the console's size (SIZE), emergency writes.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/permit.h"
#include "base/result.h"
#include "virtio/console/host_end.h"
#include "virtio/device.h"

namespace gemel::virtio {

struct ConsoleOptions {
  struct Channel {
    std::string name;
    HostEnd::Fds fds;
  };
  std::string name;  // for log lines and the worker's thread: "console0"
  std::optional<HostEnd::Fds> console;
  std::vector<Channel> channels;  // at most kMaxConsoleChannels
  Permit* permit = nullptr;       // virtio/worker.h
};

inline constexpr std::size_t kMaxConsoleChannels = 30;

Result<std::unique_ptr<VirtioDevice>> CreateConsole(ConsoleOptions options);

}  // namespace gemel::virtio
